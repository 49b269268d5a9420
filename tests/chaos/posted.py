"""What the ledger has at the end, read from its tables."""

from uuid import UUID

import asyncpg

from tests.chaos.oracle import Figures, Ledger, PostedEvent

MICRO = 1_000_000
EVENTS = """
SELECT a.end_user_id, e.feature_key, e.idempotency_key, e.units_micro, e.cost_micro, e.debt_micro,
       EXISTS (SELECT FROM ledger_orders o
               WHERE o.environment_id = e.environment_id AND o.target_id = e.id AND o.code IS NULL) AS is_voided
FROM usage_events e JOIN accounts a ON a.environment_id = e.environment_id AND a.id = e.account_id
WHERE e.environment_id = $1
"""
FIGURES = """
SELECT a.end_user_id, a.total_micro,
       coalesce(-sum(l.amount_micro) FILTER (WHERE l.account_name LIKE 'issued:%'), 0)::bigint AS credited_micro,
       coalesce(sum(l.amount_micro) FILTER (WHERE l.account_name = 'expired'), 0)::bigint AS expired_micro
FROM accounts a LEFT JOIN ledger_lines l ON l.environment_id = a.environment_id AND l.account_id = a.id
WHERE a.environment_id = $1 GROUP BY a.end_user_id, a.total_micro
"""
REJECTED = "SELECT end_user_id || ': ' || code || ': ' || detail FROM rejected_events WHERE environment_id = $1"


async def read_ledger(database_url: str, environment_id: UUID) -> Ledger:
    """Events and figures of one environment, and what was rejected."""
    connection = await asyncpg.connect(database_url)
    try:
        events = await connection.fetch(EVENTS, environment_id)
        figures = await connection.fetch(FIGURES, environment_id)
        rejected = await connection.fetch(REJECTED, environment_id)
    finally:
        await connection.close()
    posted = [PostedEvent(row[0], row[1], row[2], row["units_micro"] // MICRO, *row[4:]) for row in events]
    return Ledger(posted, {row[0]: Figures(*row[1:]) for row in figures}, [row[0] for row in rejected])
