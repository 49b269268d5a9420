"""From every schema that there ever was, with a row in each of its tables, to the newest."""
# ruff: noqa: S608 - the names of tables and columns come from the catalogue and from tests/app/schema/rows.py

from uuid import uuid4

import asyncpg
import pytest

from app.io.migrate import migrate
from app.io.postgres import known_steps
from tests.app.schema.catalogue import OUTSIDE_THE_RULE, connected, tables
from tests.app.schema.rows import HASH, NOW, rows
from tests.app.schema.test_usage_storage import migrate_to
from tests.databases import DatabaseUrls

STEPS = [step for step in known_steps() if step >= "0002"]
"""The first makes tables, the second says who may use them: no release had the first alone."""
COLUMNS = """
    SELECT attname::text FROM pg_attribute
    WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped
"""
CLOCK = "test_clocks", {"frozen_at": NOW, "created_at": NOW}


async def fill_former(connection: asyncpg.Connection) -> set[str]:
    """A row in every table of environments that an older schema has; the tables."""
    environment_id, tenant_id, filled = uuid4(), uuid4(), set[str]()
    await connection.execute("INSERT INTO tenants VALUES ($1, 'acme', $2)", tenant_id, NOW)
    await connection.execute("INSERT INTO environments VALUES ($1, $2, 'sandbox', $3)", environment_id, tenant_id, NOW)
    if await connection.fetchval("SELECT to_regproc('make_usage_partition') IS NOT NULL"):
        await connection.execute("SELECT make_usage_partition($1)", NOW)
    for table, row in (CLOCK, *rows(HASH)):
        there = [column["attname"] for column in await connection.fetch(COLUMNS, table)]
        values = {"environment_id": environment_id, **{name: row[name] for name in row if name in there}}
        if there:
            places = ", ".join(f"${number}" for number in range(1, len(values) + 1))
            await connection.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({places})", *values.values())
            filled.add(table)
    return filled


@pytest.mark.parametrize("step", STEPS)
async def test_rows_come_along(empty_urls: DatabaseUrls, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps that follow run on tables that are not empty, and no table loses its row."""
    await migrate_to(empty_urls, step, monkeypatch)
    async with connected(empty_urls.owner) as connection:
        filled = await fill_former(connection)
        assert await tables(connection) - filled <= OUTSIDE_THE_RULE
    assert await migrate(empty_urls.owner, empty_urls.roles) == [later for later in known_steps() if later > step]
    async with connected(empty_urls.owner) as connection:
        assert filled <= await tables(connection)
        for table in filled:
            assert await connection.fetchval(f"SELECT count(*) FROM {table}"), table
