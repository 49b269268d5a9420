"""What the catalogue of a migrated database says."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

OUTSIDE_THE_RULE = {
    *("tenants", "environments", "operator_keys"),
    *("stream_cursors", "partition_leases", "flushers", "reconciliation", "migration"),
}
"""Tables without environment_id: who there is, what operators asked, bookkeeping of stream and jobs, Piccolo's own."""
WRITTEN_ONCE = (
    *("ledger_transactions", "ledger_lines", "usage_events", "usage_event_keys"),
    *("ledger_checkpoints", "ledger_checkpoint_heads", "ledger_orders", "audit_log"),
)


@asynccontextmanager
async def connected(url: str, environment_id: object = None) -> AsyncIterator[asyncpg.Connection]:
    """A connection, in an environment if one is given."""
    connection = await asyncpg.connect(url)
    try:
        if environment_id is not None:
            await connection.execute("SELECT set_config('app.environment_id', $1, false)", str(environment_id))
        yield connection
    finally:
        await connection.close()


async def tables(connection: asyncpg.Connection) -> set[str]:
    """Every table; partitions belong to theirs."""
    return await _relations(connection, "NOT relispartition")


async def partitions(connection: asyncpg.Connection) -> set[str]:
    """Every partition of a table."""
    return await _relations(connection, "relispartition")


async def _relations(connection: asyncpg.Connection, condition: str) -> set[str]:
    statement = (
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND "
    )
    return {row["relname"] for row in await connection.fetch(statement + condition)}


async def tenant_tables(connection: asyncpg.Connection) -> list[str]:
    """Every table below `environments`."""
    return sorted(await tables(connection) - OUTSIDE_THE_RULE)
