"""What the ledger has at the end, read from its tables."""

from typing import Any
from uuid import UUID

import asyncpg

from app.rules.moments import to_at
from tests.chaos.oracle import Figures, Ledger, PostedEvent
from tests.chaos.reservations import PostedReservation

MICRO = 1_000_000
EVENTS = """
SELECT a.end_user_id, e.feature_key, e.idempotency_key, e.units_micro, e.cost_micro, e.debt_micro,
       EXISTS (SELECT FROM ledger_orders o
               WHERE o.environment_id = e.environment_id AND o.target_id = e.id AND o.code IS NULL) AS is_voided
FROM usage_events e JOIN accounts a ON a.environment_id = e.environment_id AND a.id = e.account_id
WHERE e.environment_id = $1
  AND NOT EXISTS (SELECT FROM reservations r WHERE r.environment_id = e.environment_id AND r.id = e.id)
"""
RESERVATIONS = """
SELECT r.id, a.end_user_id, r.feature_key, r.idempotency_key, r.state, r.reserved_micro, r.debt_micro, r.expires_at,
       r.ended_at, e.units_micro, e.cost_micro
FROM reservations r JOIN accounts a ON a.environment_id = r.environment_id AND a.id = r.account_id
LEFT JOIN usage_events e ON e.environment_id = r.environment_id AND e.id = r.id
WHERE r.environment_id = $1
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
    """Events, reservations and figures of one environment, and what was rejected."""
    connection = await asyncpg.connect(database_url)
    try:
        events = await connection.fetch(EVENTS, environment_id)
        figures = await connection.fetch(FIGURES, environment_id)
        rejected = await connection.fetch(REJECTED, environment_id)
        reservations = await connection.fetch(RESERVATIONS, environment_id)
    finally:
        await connection.close()
    posted = [PostedEvent(row[0], row[1], row[2], row["units_micro"] // MICRO, *row[4:]) for row in events]
    return Ledger(
        posted,
        {row[0]: Figures(*row[1:]) for row in figures},
        [row[0] for row in rejected],
        [_reservation_of(row) for row in reservations],
    )


def _reservation_of(row: Any) -> PostedReservation:
    """A row of RESERVATIONS."""
    used = None if row["units_micro"] is None else (row["units_micro"] // MICRO, row["cost_micro"])
    return PostedReservation(
        row["id"].hex,
        row["end_user_id"],
        row["feature_key"],
        row["idempotency_key"],
        row["state"],
        row["reserved_micro"],
        row["debt_micro"],
        to_at(row["expires_at"]),
        None if row["ended_at"] is None else to_at(row["ended_at"]),
        used,
    )
