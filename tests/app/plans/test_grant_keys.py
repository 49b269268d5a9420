"""What grants of versions from before are called, and how long what was granted once lives."""

from typing import Any
from uuid import UUID

import pytest

from app.io.migrate import migrate
from tests.app.schema.catalogue import connected
from tests.app.schema.test_usage_storage import migrate_to
from tests.conftest import DatabaseUrls

ENVIRONMENT, TENANT, PLAN, VARIANT, FIRST, SECOND = (UUID(int=number) for number in range(1, 7))
MADE = f"""
    INSERT INTO tenants VALUES ('{TENANT}', 'acme', now());
    INSERT INTO environments VALUES ('{ENVIRONMENT}', '{TENANT}', 'live', now());
    INSERT INTO plans (environment_id, id, key, name, created_at) VALUES ('{ENVIRONMENT}', '{PLAN}', 'p', 'P', now());
    INSERT INTO plan_variants (environment_id, id, plan_id, key, created_at)
        VALUES ('{ENVIRONMENT}', '{VARIANT}', '{PLAN}', 'v', now());
    INSERT INTO plan_variant_versions (environment_id, id, variant_id, version, interval_unit, interval_count,
                                       overage_policy, created_at)
        VALUES ('{ENVIRONMENT}', '{FIRST}', '{VARIANT}', 1, 'month', 1, 'block', now()),
               ('{ENVIRONMENT}', '{SECOND}', '{VARIANT}', 2, 'month', 1, 'block', now())
"""  # noqa: S608 - ids from this file
GRANT = """
    INSERT INTO plan_grants (id, variant_version_id, once, interval_unit, interval_count, expires_after_unit,
                             expires_after_count, environment_id, amount_micro)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1)
"""
KEPT = """
    SELECT key, interval_unit, interval_count, expires_after_unit, expires_after_count FROM plan_grants ORDER BY id
"""
BEFORE = [
    (UUID(int=22), FIRST, True, "week", 2, None, None),
    (UUID(int=20), FIRST, False, "month", 1, None, None),
    (UUID(int=21), FIRST, True, "month", 1, "year", 3),
    (UUID(int=23), SECOND, False, "day", 9, "day", 10),
]
AFTER = [
    ("1", "month", 1, None, None),
    ("2", None, None, "year", 3),
    ("3", None, None, "week", 2),
    ("1", "day", 9, "day", 10),
]


async def test_grants_from_before(empty_urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are called by their place in their version; what was granted once lives as long as it did."""
    await migrate_to(empty_urls, "0016_subscriptions", monkeypatch)
    async with connected(empty_urls.owner) as connection:
        await connection.execute(MADE)
        await connection.executemany(GRANT, [(*row, ENVIRONMENT) for row in BEFORE])
    await migrate(empty_urls.owner, empty_urls.roles)
    async with connected(empty_urls.owner) as connection:
        kept: list[Any] = await connection.fetch(KEPT)
    assert [tuple(row) for row in kept] == AFTER
