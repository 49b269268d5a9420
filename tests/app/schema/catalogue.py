"""What the catalogue of a migrated database says."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

OUTSIDE_THE_RULE = {"tenants", "environments", "stream_cursors", "partition_leases", "migration"}
"""Tables without environment_id: who there is, bookkeeping of the stream, Piccolo's own list."""
WRITTEN_ONCE = (
    *("ledger_transactions", "ledger_lines", "usage_events"),
    *("ledger_checkpoints", "ledger_checkpoint_heads"),
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
    """Every table."""
    rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return {row["tablename"] for row in rows}


async def tenant_tables(connection: asyncpg.Connection) -> list[str]:
    """Every table below `environments`."""
    return sorted(await tables(connection) - OUTSIDE_THE_RULE)
