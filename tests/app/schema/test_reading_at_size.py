"""What is read in pages costs what is on the page, however much there is: no plan goes through a table or sorts one."""

import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import pytest

from app.io.statements import statements
from tests.app.schema.catalogue import connected
from tests.app.schema.rows import NOW, fill
from tests.conftest import DatabaseUrls

MANY, PAGE = 5_000, 50
"""Customers of the environment, each with an account and a subscription; and how many of them are asked for."""
FIRST = UUID(int=0)
CUSTOMERS = """
    INSERT INTO customers (environment_id, id, end_user_id, created_at)
    SELECT $1, gen_random_uuid(), 'u' || number, $2 FROM generate_series(1, $3::integer) AS number
"""
SUBSCRIPTIONS = """
    INSERT INTO subscriptions (environment_id, id, customer_id, variant_id, variant_version_id, plan_kind, state,
        anchor_at, period_start_at, period_end_at, period_index, is_free, set_aside, used_before, changes, rules,
        created_at, updated_at)
    SELECT $1, gen_random_uuid(), c.id, v.id, v.current_version_id, 'base', 'active',
        $2, $2, $2::timestamptz + interval '1 day', 0, false, '[]', '[]', 1, '{}',
        $2::timestamptz + interval '1 minute' * (random() * 1000)::integer, $2
    FROM customers c
    CROSS JOIN LATERAL (
        SELECT v.id, v.current_version_id FROM plan_variants v
        WHERE v.environment_id = $1 ORDER BY (v.key = 'rare') = (c.end_user_id LIKE '%00') DESC LIMIT 1
    ) AS v
    WHERE c.environment_id = $1 AND c.end_user_id <> 'u'
"""
"""Every hundredth is on the variant `rare`."""
VARIANTS = """
    INSERT INTO plan_variants (environment_id, id, plan_id, key, created_at)
    SELECT environment_id, gen_random_uuid(), plan_id, 'rare', created_at FROM plan_variants WHERE environment_id = $1;
"""
VERSIONS = """
    INSERT INTO plan_variant_versions (environment_id, id, variant_id, version, interval_unit, interval_count,
        overage_policy, created_at)
    SELECT v.environment_id, gen_random_uuid(), v.id, 1 + number, 'month', 1, 'block', v.created_at
    FROM plan_variants v CROSS JOIN generate_series(1, 2) AS number WHERE v.environment_id = $1
"""
"""Two of each."""
CURRENT = """
    UPDATE plan_variants v SET current_version_id = o.id FROM plan_variant_versions o
    WHERE v.environment_id = $1 AND o.environment_id = $1 AND o.variant_id = v.id AND o.version = $2
"""


class Asked(NamedTuple):
    """A statement, as a role asks it in an environment."""

    package: str
    name: str
    arguments: tuple[Any, ...]


class Large:
    """A database with one large environment."""

    def __init__(self, urls: DatabaseUrls, environment_id: UUID) -> None:
        self._urls = urls
        self.environment_id = environment_id

    async def rows(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """What its owner reads."""
        async with connected(self._urls.owner) as connection:
            return await connection.fetch(statement, *arguments)

    async def ask(self, asked: Asked, role: str = "quotastack_core") -> tuple[list[asyncpg.Record], float]:
        """What is answered, and how many rows were read for it by the plan that serves all arguments alike."""
        async with connected(self._urls.of(role), self.environment_id) as connection:
            await connection.execute("SET plan_cache_mode = force_generic_plan")
            await connection.execute(f"PREPARE asked AS {statements(asked.package)[asked.name]}")
            values = ", ".join("NULL" if value is None else f"'{value}'" for value in asked.arguments)
            [[plan]] = await connection.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE asked ({values})")
            return await connection.fetch(f"EXECUTE asked ({values})"), read_by(json.loads(plan)[0]["Plan"])


def read_by(node: dict[str, Any]) -> float:
    """The rows that a plan took from tables and indexes, those too that it did not want."""
    read = 0.0
    if "Relation Name" in node:
        seen = sum(
            node.get(key, 0) for key in ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
        )
        read = seen * node["Actual Loops"]
    return read + sum(map(read_by, node.get("Plans", ())))


@pytest.fixture
async def large(urls: DatabaseUrls) -> Large:
    """One in which all subscribers are on the first version of their variant, which has a second."""
    async with connected(urls.owner) as owner:
        environment_id = await fill(owner, bytes(32))
        await owner.execute(VARIANTS.replace("$1", f"'{environment_id}'"))
        await owner.execute(VERSIONS, environment_id)
        await owner.execute(CURRENT, environment_id, 2)
        await owner.execute(CUSTOMERS, environment_id, NOW, MANY)
        await owner.execute(SUBSCRIPTIONS, environment_id, NOW)
        await owner.execute(CURRENT, environment_id, 3)
        await owner.execute("ANALYZE")
    return Large(urls, environment_id)


async def pages(large: Large, name: str, *before: Any) -> AsyncIterator[tuple[list[asyncpg.Record], float]]:
    """Page after page of a list, each after the id with which the one before ended, and what it read."""
    after: UUID | None = None if name == "list_subscriptions" else FIRST
    while True:
        page, read = await large.ask(Asked("app.subscriptions", name, (large.environment_id, *before, after, PAGE)))
        if not page:
            return
        yield page, read
        after = page[-1]["id"]


async def test_pages_of_subscriptions(large: Large) -> None:
    """They are all of them, in the order in which they were made; the last one costs no more than the first."""
    found = list[UUID]()
    async for page, read in pages(large, "list_subscriptions", None):
        assert read <= 2 * PAGE + 2, len(found)
        found += [row["id"] for row in page]
    made = await large.rows("SELECT id FROM subscriptions ORDER BY created_at, id")
    assert found == [row["id"] for row in made]


async def test_what_is_not_there_has_nothing_after_it(large: Large) -> None:
    """A place in a list that is not of this environment is before none of its subscriptions."""
    asked = Asked("app.subscriptions", "list_subscriptions", (large.environment_id, None, FIRST, PAGE))
    assert (await large.ask(asked))[0] == []


async def test_subscriptions_of_a_customer(large: Large) -> None:
    """Are found by the customer's name."""
    asked = Asked("app.subscriptions", "list_of_customer", (large.environment_id, "u77", None, None, PAGE))
    found, read = await large.ask(asked)
    assert ([row["end_user_id"] for row in found], read) == (["u77"], 2)


async def test_pages_of_those_to_migrate(large: Large) -> None:
    """They are all of their variant's, and none of another is looked at."""
    [rare] = await large.rows("SELECT id FROM plan_variants WHERE key = 'rare'")
    found = list[UUID]()
    async for page, read in pages(large, "list_to_migrate", rare["id"]):
        assert read <= 2 * PAGE + 2
        found += [row["id"] for row in page]
    of_it = await large.rows("SELECT id FROM subscriptions WHERE variant_id = $1 ORDER BY id", rare["id"])
    assert found == [row["id"] for row in of_it]
    assert len(found) == MANY // 100
