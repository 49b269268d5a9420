"""Who sees which rows: every table of the catalogue, with the rows of two environments in it."""
# ruff: noqa: S608 - the names of tables come from the catalogue

from uuid import UUID

import asyncpg
import pytest

from app.io.migrate import ROLES
from tests.app.schema.catalogue import OUTSIDE_THE_RULE, connected, partitions, tables, tenant_tables
from tests.app.schema.rows import fill
from tests.databases import DatabaseUrls

CORE = "quotastack_core"


async def fill_two(urls: DatabaseUrls) -> tuple[UUID, UUID]:
    """Two environments with a row in every table."""
    async with connected(urls.owner) as connection:
        for table in await tenant_tables(connection):
            assert not await connection.fetchval(f"SELECT count(*) FROM {table}")
        return await fill(connection, bytes([1]) * 32), await fill(connection, bytes([2]) * 32)


async def visible(connection: asyncpg.Connection, table: str) -> list[UUID] | None:
    """Environments of the rows that are seen; None where the table may not be read."""
    try:
        rows = await connection.fetch(f"SELECT environment_id FROM {table}")
    except asyncpg.InsufficientPrivilegeError:
        return None
    return [row["environment_id"] for row in rows]


async def test_security_is_forced_on_every_table(urls: DatabaseUrls) -> None:
    """On all below `environments`, the owner included; the others are named."""
    statement = "SELECT relname FROM pg_class WHERE relrowsecurity AND relforcerowsecurity"
    async with connected(urls.owner) as connection:
        secured = {row["relname"] for row in await connection.fetch(statement)}
        assert secured == await tables(connection) - OUTSIDE_THE_RULE | await partitions(connection)


async def test_without_an_environment_core_sees_nothing(urls: DatabaseUrls) -> None:
    """Zero rows of every table, also after a transaction that had one."""
    first, _ = await fill_two(urls)
    async with connected(urls.of(CORE)) as connection:
        async with connection.transaction():
            await connection.execute("SELECT set_config('app.environment_id', $1, true)", str(first))
            assert await visible(connection, "customers") == [first]
        for table in await tenant_tables(connection):
            assert not await visible(connection, table), table


async def test_core_sees_its_environment_and_no_other(urls: DatabaseUrls) -> None:
    """Of every table that it may read at all, exactly the rows of the one that is set."""
    environments = await fill_two(urls)
    for environment_id in environments:
        async with connected(urls.of(CORE), environment_id) as connection:
            readable = {table: await visible(connection, table) for table in await tenant_tables(connection)}
        assert all(seen == [environment_id] for seen in readable.values()), readable


async def test_core_does_not_read_tenants(urls: DatabaseUrls) -> None:
    """It asks two functions, and cannot look further; of a key it finds the environment, whatever that is."""
    await fill_two(urls)
    async with connected(urls.of(CORE)) as connection:
        for table in ("tenants", "environments", "operator_keys", "partition_leases"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"SELECT * FROM {table}")
        row = await connection.fetchrow("SELECT * FROM authenticate_key($1)", bytes([1]) * 32)
        assert row is not None
        assert row["environment_kind"] == "sandbox"
        assert await connection.fetch("SELECT * FROM authenticate_key($1)", bytes(32)) == []


@pytest.mark.parametrize("role", [role for role in ROLES if role != CORE])
async def test_flusher_and_jobs_see_all_rows_of_what_they_are_granted(urls: DatabaseUrls, role: str) -> None:
    """By policy, and of nothing else."""
    environments = set(await fill_two(urls))
    async with connected(urls.of(role)) as connection:
        seen = {table: await visible(connection, table) for table in await tenant_tables(connection)}
    readable = {table: rows for table, rows in seen.items() if rows is not None}
    assert all(set(rows) == environments for rows in readable.values()), readable
    assert ("api_keys" in readable) == (role == "quotastack_jobs")
