"""What each login role may do, as text: a new grant, policy or function is a change that a reader sees.

`pytest tests/isolation/test_powers.py --write-golden` writes powers.txt anew.
"""

from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from app.io.migrate import ROLES
from tests.app.schema.catalogue import OUTSIDE_THE_RULE, connected, partitions, tables
from tests.databases import DatabaseUrls
from tests.golden.kept import compare

KEPT = Path(__file__).with_name("powers.txt")
OF_COLUMNS = ["SELECT", "INSERT", "UPDATE", "REFERENCES"]
PRIVILEGES = [*OF_COLUMNS, "DELETE", "TRUNCATE", "TRIGGER"]
ON_TABLES = """
    SELECT p AS privilege, has_table_privilege($1, $2::text, p) AS whole,
           ARRAY(SELECT attname::text FROM pg_attribute
                 WHERE attrelid = $2::text::regclass AND attnum > 0 AND NOT attisdropped AND p = ANY ($4)
                       AND has_column_privilege($1, attrelid, attnum, p) ORDER BY attname::text) AS columns
    FROM unnest($3::text[]) WITH ORDINALITY AS asked (p, place) ORDER BY place
"""
POLICIES = """
    SELECT tablename, policyname, permissive, roles::text[] AS roles, cmd, qual, with_check
    FROM pg_policies WHERE schemaname = 'public'
"""
FUNCTIONS = """
    SELECT proname, pg_get_function_identity_arguments(oid) AS arguments, prosecdef, proconfig,
           ARRAY(SELECT role FROM unnest($1::text[]) AS role WHERE has_function_privilege(role, oid, 'EXECUTE'))
               AS callers
    FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY proname, arguments
"""
OWN_ROWS = "(environment_id = ( SELECT (NULLIF(current_setting('app.environment_id'::text, true), ''::text))::uuid AS "
ATTRIBUTES = ("rolsuper", "rolcreaterole", "rolcreatedb", "rolreplication", "rolbypassrls", "rolinherit")


def say(privilege: str, columns: list[str], *, whole: bool) -> str:
    """A privilege on a table, or on some of its columns; nothing where there is none."""
    if whole:
        return privilege
    return f"{privilege} ({', '.join(columns)})" if columns else ""


async def powers(connection: asyncpg.Connection) -> str:
    """Tables by role, then functions. Trigger functions are nobody's to call."""
    lines = []
    for role in ROLES:
        lines.append(f"{role}")
        for table in sorted(await tables(connection)):
            rows = await connection.fetch(ON_TABLES, role, table, PRIVILEGES, OF_COLUMNS)
            given = [said for row in rows if (said := say(row["privilege"], row["columns"], whole=row["whole"]))]
            if given:
                lines.append(f"  {table:<24} {', '.join(given)}")
        lines.append("")
    lines.append("functions that run as the owner")
    for row in await connection.fetch(FUNCTIONS, list(ROLES)):
        if row["prosecdef"]:
            lines.append(f"  {row['proname']}({row['arguments']})")
            lines.append(
                f"    {', '.join(row['callers']) or 'nobody'}; {'; '.join(row['proconfig'] or ['NOT PINNED'])}"
            )
    return "\n".join(lines) + "\n"


async def test_what_each_role_may_do(urls: DatabaseUrls, request: pytest.FixtureRequest) -> None:
    """Byte for byte what is kept."""
    async with connected(urls.owner) as connection:
        compare(await powers(connection), KEPT, request)


def policy_faults(row: asyncpg.Record) -> Iterator[str]:
    """What a policy says that it must not."""
    role = row["policyname"].removeprefix("of_")
    wanted = ["quotastack"] if role == "owner" else [f"quotastack_{role}"]
    if row["roles"] != wanted or row["cmd"] != "ALL" or row["permissive"] != "PERMISSIVE":
        yield "is for others, or for some commands only"
    if row["with_check"] != row["qual"]:
        yield "lets in what it does not show"
    if role == "core" and not row["qual"].startswith(OWN_ROWS):
        yield "shows core more than the environment of its transaction"
    if role != "core" and row["qual"] != "true":
        yield "is something else than all rows"


async def test_every_policy_is_one_of_four(urls: DatabaseUrls) -> None:
    """Core has its environment's rows, the others all rows of what they are granted; no policy is for everybody."""
    async with connected(urls.owner) as connection:
        rows = await connection.fetch(POLICIES)
        secured = await tables(connection) - OUTSIDE_THE_RULE | await partitions(connection)
    assert {(row["tablename"], row["policyname"]) for row in rows} >= {
        (table, policy) for table in secured for policy in ("of_owner", "of_core")
    }
    assert [f"{row['tablename']}.{row['policyname']} {fault}" for row in rows for fault in policy_faults(row)] == []


async def test_a_policy_goes_with_a_grant(urls: DatabaseUrls) -> None:
    """Flusher and jobs have a policy where they are granted the table, and no other: neither a dead one nor a gap."""
    statement = "SELECT has_any_column_privilege($1, $2::text, 'SELECT, INSERT, UPDATE')"
    async with connected(urls.owner) as connection:
        rows = await connection.fetch(POLICIES)
        for role in ("flusher", "jobs"):
            policies = {row["tablename"] for row in rows if row["policyname"] == f"of_{role}"}
            inside = await tables(connection) - OUTSIDE_THE_RULE
            granted = {table for table in inside if await connection.fetchval(statement, f"quotastack_{role}", table)}
            assert policies - await partitions(connection) == granted, role


async def test_the_roles_are_nothing_else(urls: DatabaseUrls) -> None:
    """They own nothing, are members of nothing, pass no policy by, and make no lasting object anywhere."""
    async with connected(urls.owner) as connection:
        for role in ROLES:
            row = await connection.fetchrow("SELECT * FROM pg_roles WHERE rolname = $1", role)
            assert row is not None
            assert not [name for name in ATTRIBUTES if row[name]], role
            assert await connection.fetchval("SELECT count(*) FROM pg_class WHERE relowner = $1", row["oid"]) == 0
            assert await connection.fetchval("SELECT count(*) FROM pg_proc WHERE proowner = $1", row["oid"]) == 0
            assert await connection.fetchval("SELECT count(*) FROM pg_auth_members WHERE member = $1", row["oid"]) == 0
            for schema in await connection.fetch("SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_temp'"):
                statement = "SELECT has_schema_privilege($1, $2::name, 'CREATE')"
                assert not await connection.fetchval(statement, role, schema["nspname"]), schema
            assert not await connection.fetchval(
                "SELECT has_database_privilege($1, current_database(), 'CREATE')", role
            )


async def test_functions_that_run_as_the_owner_are_pinned(urls: DatabaseUrls) -> None:
    """They find what they name whatever the caller's search path is, and not everybody may call them."""
    async with connected(urls.owner) as connection:
        rows = await connection.fetch(FUNCTIONS, [*ROLES, "public"])
    pinned = [row for row in rows if row["prosecdef"]]
    assert {"authenticate_key", "create_tenant", "make_usage_partition"} <= {row["proname"] for row in pinned}
    for row in pinned:
        assert "search_path=public, pg_temp" in row["proconfig"], row["proname"]
        assert "public" not in row["callers"], row["proname"]


async def test_a_table_of_the_callers_own_is_not_read_instead(urls: DatabaseUrls) -> None:
    """Whoever makes a temporary `api_keys` is still asked for a key that was issued."""
    async with connected(urls.of("quotastack_core")) as connection:
        await connection.execute("CREATE TEMPORARY TABLE api_keys (LIKE outbox)")
        await connection.execute("SET search_path = pg_temp, public")
        assert await connection.fetch("SELECT * FROM authenticate_key($1)", bytes(32)) == []
