"""Every key leads with environment_id: no row can point across environments, and the schema can be distributed."""

from uuid import uuid4

import asyncpg
import pytest

from tests.app.schema.catalogue import OUTSIDE_THE_RULE, connected, tenant_tables
from tests.app.schema.rows import NOW, fill
from tests.databases import DatabaseUrls

ELSEWISE = {
    "api_keys_digest_key",  # signing in: the environment is what is looked for
    "accounts_due",  # what falls due next, of all environments
    "reservations_due",  # the same
    "api_keys_changed",  # what edges may not have been told of, of all environments
    "gauge_holds_over",  # what can be forgotten, of all environments
    "outbox_to_relay",  # what has no place in its feed yet, of all environments
    "idempotency_keys_old",  # the same
}
INDEXES = """
    SELECT indexrelid::regclass::text AS index, indrelid::regclass::text AS of, attname AS first
    FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
    WHERE indrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
"""
FOREIGN_KEYS = """
    SELECT conname, conrelid::regclass::text AS of, confrelid::regclass::text AS to,
           (SELECT attname FROM pg_attribute WHERE attrelid = conrelid AND attnum = conkey[1]) AS first,
           (SELECT attname FROM pg_attribute WHERE attrelid = confrelid AND attnum = confkey[1]) AS first_there
    FROM pg_constraint WHERE contype = 'f'
"""


async def test_every_index_leads_with_the_environment(urls: DatabaseUrls) -> None:
    """Primary keys, unique keys and plain indexes; the exceptions are named here."""
    async with connected(urls.owner) as connection:
        rows = await connection.fetch(INDEXES)
    inside = [row for row in rows if row["of"] not in OUTSIDE_THE_RULE]
    assert {row["index"] for row in inside if row["first"] != "environment_id"} == ELSEWISE


async def test_every_foreign_key_carries_the_environment(urls: DatabaseUrls) -> None:
    """On both of its ends."""
    async with connected(urls.owner) as connection:
        rows = [row for row in await connection.fetch(FOREIGN_KEYS) if row["of"] not in OUTSIDE_THE_RULE]
    assert len(rows) > 20
    for row in rows:
        assert row["first"] == "environment_id", row["conname"]
        assert row["first_there"] == ("id" if row["to"] == "environments" else "environment_id"), row["conname"]


async def test_no_row_points_into_another_environment(urls: DatabaseUrls) -> None:
    """The owner itself cannot write one."""
    async with connected(urls.owner) as connection:
        ours, theirs = [await fill(connection, bytes([number]) * 32) for number in (1, 2)]
        feature = await connection.fetchval("SELECT id FROM features WHERE environment_id = $1", theirs)
        statement = """
            INSERT INTO prices (environment_id, id, feature_id, version, price, effective_at, created_at)
            VALUES ($1, $2, $3, 2, '{}', $4, $4)
        """
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await connection.execute(statement, ours, uuid4(), feature, NOW)
        await connection.execute(statement, theirs, uuid4(), feature, NOW)
        assert await tenant_tables(connection)
