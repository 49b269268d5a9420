"""What is read in pages costs what is on the page, however much there is: no plan goes through a table or sorts one."""

import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import pytest

from app.io.statements import statements
from app.jobs.tick import BEGINNING
from tests.app.schema.catalogue import connected
from tests.app.schema.rows import NOW, fill
from tests.conftest import DatabaseUrls

MANY, PAGE = 5_000, 50
"""Customers of the environment, each with an account and a subscription; and how many of them are asked for."""
FIRST = UUID(int=0)
DAY = timedelta(days=1)
TOMORROW = NOW + DAY
"""From when on all accounts have something due, within a hundred minutes: many share one."""
ACCOUNTS = """
    INSERT INTO accounts (environment_id, id, end_user_id, revision, seq, total_micro, debt_micro, applied_micro,
        posted_at, head_hash, subscription_status, created_at, reserved_micro, open_reservations, valid_until)
    SELECT environment_id, id, end_user_id, 1, 1, 0, 0, 0, created_at, $3, 'active', created_at, 0, 0,
        $2::timestamptz + interval '1 minute' * (random() * 100)::integer
    FROM customers WHERE environment_id = $1 AND end_user_id <> 'u'
"""
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

    async def change(self, statement: str, *arguments: Any) -> None:
        """What its owner does to it."""
        async with connected(self._urls.owner) as connection:
            await connection.execute(statement, *arguments)

    async def ask(self, asked: Asked, role: str = "quotastack_core") -> tuple[list[asyncpg.Record], float]:
        """What is answered, and how many rows were read for it."""
        plan = await self.plan(asked, role)
        return await self._run("EXECUTE asked", asked, role), read_by(json.loads(plan)[0]["Plan"])

    async def plan(self, asked: Asked, role: str) -> str:
        """How it is answered, by the plan that serves all arguments alike, as JSON."""
        return (await self._run("EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE asked", asked, role))[0][0]

    async def _run(self, command: str, asked: Asked, role: str) -> list[asyncpg.Record]:
        values = ", ".join("NULL" if value is None else f"'{value}'" for value in asked.arguments)
        async with connected(self._urls.of(role), self.environment_id) as connection:
            await connection.execute("SET plan_cache_mode = force_generic_plan")
            await connection.execute(f"PREPARE asked AS {statements(asked.package)[asked.name]}")
            return await connection.fetch(f"{command} ({values})")


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
    """One in which all subscribers are on the first version of their variant, which has a second.

    It is a sandbox whose time stands still, a day before anything is due.
    """
    async with connected(urls.owner) as owner:
        environment_id = await fill(owner, bytes(32))
        await owner.execute(VARIANTS.replace("$1", f"'{environment_id}'"))
        await owner.execute(VERSIONS, environment_id)
        await owner.execute(CURRENT, environment_id, 2)
        await owner.execute(CUSTOMERS, environment_id, NOW, MANY)
        await owner.execute(ACCOUNTS, environment_id, TOMORROW, bytes(32))
        await owner.execute(SUBSCRIPTIONS, environment_id, NOW)
        await owner.execute(CURRENT, environment_id, 3)
        await owner.execute("VACUUM ANALYZE")
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


async def due(large: Large, now: datetime) -> AsyncIterator[tuple[list[asyncpg.Record], float]]:
    """Page after page of the accounts at which something is due, and what it read."""
    after: tuple[Any, ...] = BEGINNING
    while True:
        page, read = await large.ask(Asked("app.jobs", "list_due_accounts", (now, *after, PAGE)), "quotastack_jobs")
        if not page:
            return
        yield page, read
        before, after = after, tuple(page[-1])[:3]
        assert before < after


@pytest.mark.parametrize("frozen", [0, 1, 3])
async def test_pages_of_what_is_due(large: Large, urls: DatabaseUrls, frozen: int) -> None:
    """They are all that is due and nothing else, the longest overdue first; what is not due yet costs nothing.

    `frozen` of three environments go by a clock, the others by the real time.
    """
    by = TOMORROW + timedelta(minutes=20)
    async with connected(urls.owner) as owner:
        others = [await fill(owner, bytes([number] * 32)) for number in (1, 2)]
        for environment_id in others:
            await owner.execute(CUSTOMERS, environment_id, NOW, MANY // 10)
            await owner.execute(ACCOUNTS, environment_id, TOMORROW, bytes(32))
        going = [*others, large.environment_id][frozen:]
        await owner.execute("DELETE FROM test_clocks WHERE environment_id = ANY($1)", going)
        await owner.execute("UPDATE test_clocks SET frozen_at = $1", by)
        await owner.execute("VACUUM ANALYZE")
    found, stepped_over = list[tuple[Any, ...]](), MANY // 10 if frozen == 1 else 0
    async for page, read in due(large, by if frozen < 3 else NOW):
        assert read <= 6 * PAGE + stepped_over, len(found)
        found += [tuple(row) for row in page]
    statement = """
        SELECT valid_until, environment_id, id, end_user_id FROM accounts WHERE valid_until <= $1
        ORDER BY valid_until, environment_id, id
    """
    assert found == [tuple(row) for row in await large.rows(statement, by)]
    assert MANY / 10 < len(found) < MANY / 2


async def test_nothing_is_due_where_time_stands_still(large: Large) -> None:
    """What would be due by the real time is stepped over once, in an index; the clock's own side reads nothing."""
    asked = Asked("app.jobs", "list_due_accounts", (TOMORROW + DAY, *BEGINNING, PAGE))
    found, read = await large.ask(asked, "quotastack_jobs")
    assert (found, read) == ([], MANY + 2)  # and the clock, twice


async def test_what_falls_due_there(large: Large) -> None:
    """By a clock it is found in an index of its environment, whatever is due elsewhere; and so is what is next."""
    for asked, role in (
        (Asked("app.jobs", "list_due_accounts", (NOW, *BEGINNING, PAGE)), "quotastack_jobs"),
        (Asked("app.test_clocks", "read_next_due", (large.environment_id,)), "quotastack_core"),
    ):
        assert "accounts_due_there" in await large.plan(asked, role)
    await large.change("UPDATE reservations SET expires_at = $1", TOMORROW + DAY)
    [row], read = await large.ask(Asked("app.test_clocks", "read_next_due", (large.environment_id,)))
    assert row[0] == (await large.rows("SELECT min(valid_until) FROM accounts"))[0][0]
    assert read == 2  # and the one reservation
