"""Core, set to one environment, does nothing to another: every table of the catalogue, every way to write."""
# ruff: noqa: S608 - the names of tables and columns come from the catalogue

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest

from app.embedded.postgres import SUPERUSER, EmbeddedPostgres
from tests.app.schema.catalogue import connected, tenant_tables
from tests.app.schema.rows import NOW, fill
from tests.databases import DatabaseUrls

CORE = "quotastack_core"
REFUSED = asyncpg.InsufficientPrivilegeError.sqlstate
MISSING = asyncpg.ForeignKeyViolationError.sqlstate
UNIQUE_EVERYWHERE = {"api_keys"}
"""A key's digest is nobody else's: whoever can say it knows the key."""
COPY = "INSERT INTO {table} ({columns}) SELECT {columns} FROM jsonb_populate_record(NULL::{table}, $1::jsonb)"
COLUMNS = """
    SELECT attname, has_column_privilege($2, attrelid, attnum, 'UPDATE') AS is_changed
    FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND attidentity = ''
    ORDER BY attnum
"""
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Victim(msgspec.Struct):
    """A table, and the row in it that belongs to somebody else."""

    table: str
    columns: str
    changed: list[str]
    """Columns that core may change at all."""
    row: str
    """JSON."""


@asynccontextmanager
async def opened(urls: DatabaseUrls) -> AsyncIterator[tuple[asyncpg.Connection, UUID, UUID, list[Victim]]]:
    """Core's connection, set to an environment of its own that has no row yet; that one; another with rows; those."""
    async with connected(urls.owner) as owner:
        theirs, ours = await fill(owner, bytes(32)), uuid4()
        tenant = await owner.fetchval("SELECT tenant_id FROM environments")
        await owner.execute("INSERT INTO environments VALUES ($1, $2, 'live', $3)", ours, tenant, NOW)
        victims = [await victim(owner, table) for table in await tenant_tables(owner)]
        before = await contents(owner)
        async with connected(urls.of(CORE), ours) as core:
            yield core, ours, theirs, victims
        assert await contents(owner) == before


async def victim(owner: asyncpg.Connection, table: str) -> Victim:
    """The one row of the table."""
    columns = await owner.fetch(COLUMNS, table, CORE)
    row = await owner.fetchval(f"SELECT to_jsonb({table}) FROM {table}")
    assert row is not None, f"tests/app/schema/rows.py has no row of {table}"
    names = ", ".join(column["attname"] for column in columns)
    return Victim(table, names, [column["attname"] for column in columns if column["is_changed"]], row)


async def contents(owner: asyncpg.Connection) -> dict[str, list[str]]:
    """Every row of every table."""
    return {
        table: [row[0] for row in await owner.fetch(f"SELECT to_jsonb({table})::text FROM {table} ORDER BY 1")]
        for table in await tenant_tables(owner)
    }


async def outcome(core: asyncpg.Connection, statement: str, *arguments: Any) -> str:
    """The SQLSTATE of a refusal, or what was done; nothing of it stays."""
    transaction = core.transaction()
    await transaction.start()
    try:
        return await core.execute(statement, *arguments)
    except asyncpg.PostgresError as error:
        return error.sqlstate
    finally:
        await transaction.rollback()


def moved(row: str, environment_id: UUID) -> str:
    """The row as if it were of that environment."""
    content = msgspec.json.decode(row) | {"environment_id": str(environment_id)}
    return msgspec.json.encode(content).decode()


async def test_nothing_is_written_into_another_environment(urls: DatabaseUrls) -> None:
    """Neither a new row nor one that is there already: both are refused alike, and nothing is learned of either."""
    async with opened(urls) as (core, _, theirs, victims):
        for found in victims:
            insert = COPY.format(table=found.table, columns=found.columns)
            fresh = moved(_UUID.sub(lambda _: str(uuid4()), found.row), theirs)
            for row in (found.row, fresh):
                for ending in ("", " ON CONFLICT DO NOTHING"):
                    assert await outcome(core, insert + ending, row) == REFUSED, (found.table, ending)


async def test_nothing_of_another_environment_is_changed(urls: DatabaseUrls) -> None:
    """No column, by whatever condition; no row is taken away, locked, or moved into sight."""
    async with opened(urls) as (core, ours, theirs, victims):
        for table, changed in ((found.table, found.changed) for found in victims):
            where = f"WHERE environment_id = '{theirs}'"
            for column in changed:
                assert await outcome(core, f"UPDATE {table} SET {column} = {column}") == "UPDATE 0", table
                assert await outcome(core, f"UPDATE {table} SET {column} = {column} {where}") == "UPDATE 0", table
            assert await outcome(core, f"UPDATE {table} SET environment_id = '{ours}'") in {"UPDATE 0", REFUSED}, table
            assert await outcome(core, f"DELETE FROM {table} {where}") in {"DELETE 0", REFUSED}, table
            assert await outcome(core, f"SELECT FROM {table} {where} FOR UPDATE") in {"SELECT 0", REFUSED}, table
            assert await outcome(core, f"TRUNCATE {table} CASCADE") == REFUSED, table


async def test_our_own_rows_do_not_move_out(urls: DatabaseUrls) -> None:
    """An UPDATE that would give a row of ours to somebody else is refused, wherever a row may be moved at all."""
    async with connected(urls.owner) as owner:
        ours, theirs = [await fill(owner, bytes([number]) * 32) for number in (1, 2)]
        statement = "SELECT has_column_privilege($1, $2::text, 'environment_id', 'UPDATE')"
        movable = [table for table in await tenant_tables(owner) if await owner.fetchval(statement, CORE, table)]
    assert {"accounts", "features", "idempotency_keys"} <= set(movable)
    async with connected(urls.of(CORE), ours) as core:
        for table in movable:
            assert await outcome(core, f"UPDATE {table} SET environment_id = '{theirs}'") == REFUSED, table


async def test_ids_of_others_are_worth_what_invented_ones_are(urls: DatabaseUrls) -> None:
    """A row of ours that takes over every id of theirs: it neither collides with theirs nor points at it."""
    seen = set[str]()
    async with opened(urls) as (core, ours, _, victims):
        for found in victims:
            insert = COPY.format(table=found.table, columns=found.columns)
            guessed = await outcome(core, insert, moved(found.row, ours))
            invented = moved(_UUID.sub(lambda _: str(uuid4()), found.row), ours)
            assert guessed == await outcome(core, insert, invented), found.table
            assert guessed in {"INSERT 0 1", MISSING, REFUSED} or found.table in UNIQUE_EVERYWHERE, found.table
            seen.add(guessed)
    assert seen > {"INSERT 0 1", MISSING, REFUSED}


@pytest.mark.parametrize("setting", [None, "", str(UUID(int=0)), "'; --"])
async def test_without_an_environment_nothing_is_written(urls: DatabaseUrls, setting: str | None) -> None:
    """Nor with one that nobody has, nor with a text that names none."""
    async with opened(urls) as (core, _, _, victims):
        await core.execute("RESET app.environment_id")
        if setting is not None:
            await core.execute("SELECT set_config('app.environment_id', $1, false)", setting)
        malformed = asyncpg.InvalidTextRepresentationError.sqlstate
        for found in victims:
            insert = COPY.format(table=found.table, columns=found.columns)
            assert await outcome(core, insert, found.row) in {REFUSED, malformed}, found.table
            for column in found.changed:
                changing = f"UPDATE {found.table} SET {column} = {column}"
                assert await outcome(core, changing) in {"UPDATE 0", malformed}, found.table


async def test_the_planners_figures_tell_nothing(urls: DatabaseUrls, postgres: EmbeddedPostgres) -> None:
    """Which values are frequent in a table is kept from whoever does not see all of its rows."""
    statement = "SELECT DISTINCT tablename FROM pg_stats WHERE tablename = ANY ($1)"
    async with opened(urls) as (core, _, _, victims), connected(postgres.url(SUPERUSER, urls.name)) as superuser:
        tables = [found.table for found in victims]
        await superuser.execute("ANALYZE")
        assert len(await superuser.fetch(statement, tables)) > 20
        assert await core.fetch(statement, tables) == []
