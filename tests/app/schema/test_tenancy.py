"""Row-level security: who sees which rows, read from the catalogue and tried out."""
# ruff: noqa: S608 - the names of tables come from the catalogue

from uuid import UUID

import asyncpg
import pytest

from app.io.migrate import ROLES
from tests.app.schema.catalogue import OUTSIDE_THE_RULE, connected, partitions, tables, tenant_tables
from tests.app.schema.rows import fill
from tests.conftest import DatabaseUrls

CORE = "quotastack_core"
OF_CORE = ("authenticate_key", "create_tenant", "claim_operator_key", "remember_operator_answer")
"""Functions through which core reaches what it may not read."""


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


async def test_core_writes_into_its_environment_only(urls: DatabaseUrls) -> None:
    """Neither a new row nor a moved one lands elsewhere."""
    ours, theirs = await fill_two(urls)
    async with connected(urls.of(CORE), ours) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await connection.execute("INSERT INTO snapshots VALUES ($1, 'x', '', now())", theirs)
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await connection.execute("UPDATE features SET environment_id = $1", theirs)
        assert (
            await connection.execute("UPDATE features SET name = 'x' WHERE environment_id = $1", theirs) == "UPDATE 0"
        )


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


async def test_what_runs_as_the_owner_is_pinned(urls: DatabaseUrls) -> None:
    """They run as the owner, find what they name whatever the caller's search path is, and only core may call them."""
    statement = """
        SELECT proname, prosecdef, proconfig, has_function_privilege('quotastack_core', oid, 'EXECUTE') AS core,
               has_function_privilege('quotastack_flusher', oid, 'EXECUTE') AS flusher,
               has_function_privilege('quotastack_jobs', oid, 'EXECUTE') AS jobs
        FROM pg_proc WHERE proname = ANY ($1)
    """
    async with connected(urls.owner) as connection:
        rows = await connection.fetch(statement, OF_CORE)
    assert len(rows) == len(OF_CORE)
    for row in rows:
        assert row["prosecdef"]
        assert row["proconfig"] == ["search_path=public, pg_temp"]
        assert (row["core"], row["flusher"], row["jobs"]) == (True, False, False)
