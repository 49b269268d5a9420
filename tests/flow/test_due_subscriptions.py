"""A period that many subscriptions share turns once for each, whoever ticks, whoever posts, and whoever is killed."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from app.rules.moments import to_at
from app.wire import keys
from app.wire.ids import parse
from app.wire.orders import Subscribe, encode_order
from tests.flow.stack import Stack, Tenant, open_session, running_stack
from tests.waiting import wait_until_async

SUBSCRIPTIONS = 200
AHEAD = timedelta(seconds=20)
"""What subscribing all of them takes, and then some."""
WEEK = timedelta(days=7)
KILLS, SPREAD = 4, timedelta(seconds=12)
"""Where the flusher is killed, they fall due one after the other, so that it is killed among them."""
TURNED = Counter({("create", "turn"): SUBSCRIPTIONS})
"""The histories of all subscriptions, once their first period is over."""


class Due:
    """Subscriptions whose first week is over in a moment."""

    def __init__(self, stack: Stack, tenant: Tenant, connection: asyncpg.Connection, spread: timedelta) -> None:
        self._stack, self._tenant, self._connection, self._spread = stack, tenant, connection, spread
        self.moment = datetime.now(UTC) + AHEAD
        """Of the first."""

    async def prepare(self) -> None:
        """Customers, each with a subscription that began a week before the moment: the orders are dated back."""
        core = self._tenant.core
        await core.created("/v1/plans", {"key": "pro", "name": "Pro"})
        terms = {"interval": "week", "billing_mode": "postpaid", "grants": [{"amount": 7, "interval": "week"}]}
        variant = await core.created("/v1/plans/pro/variants", {"key": "weekly", **terms})
        names = [f"due_{number:03}" for number in range(SUBSCRIPTIONS)]
        await asyncio.gather(*(core.created("/v1/customers", {"end_user_id": name}) for name in names))
        await self._subscribe(names, parse("var", variant["plan_variant_id"]))

        async def all_are_made() -> bool:
            return await self._connection.fetchval("SELECT count(*) FROM subscriptions") == SUBSCRIPTIONS

        await wait_until_async(all_are_made, 20, "all subscriptions to be made")
        assert datetime.now(UTC) < self.moment, "making them took too long for this test to say anything"
        assert await self.histories() == Counter({("create",): SUBSCRIPTIONS})

    async def _subscribe(self, names: list[str], variant_id: UUID) -> None:
        redis = await self._stack.redis()
        environment_ref = keys.environment_ref(self._tenant.environment_id)
        pipe = redis.client.pipeline(transaction=False)
        for number, name in enumerate(names):
            at, ref = (
                to_at(self.moment - WEEK + number * self._spread / len(names)),
                keys.account_ref(environment_ref, name),
            )
            order = Subscribe(order_id=uuid4(), actor="test", subscription_id=uuid4(), variant_id=variant_id)
            fields: dict[Any, Any] = {"a": ref, "k": "o", "t": at, "r": 1, "c": 0, "p": encode_order(order)}
            pipe.xadd(keys.stream(redis.partition(ref)), fields)
        await pipe.execute()
        await redis.close()

    async def come(self) -> None:
        """Wait for the moment."""

        async def has_come() -> bool:
            return datetime.now(UTC) > self.moment

        await wait_until_async(has_come, AHEAD.seconds + 5, "the moment to come")

    async def histories(self) -> Counter[tuple[str, ...]]:
        """How many subscriptions have had which actions."""
        statement = "SELECT array_agg(action ORDER BY number) FROM subscription_history GROUP BY subscription_id"
        return Counter(tuple(row[0]) for row in await self._connection.fetch(statement))

    async def have_turned(self) -> bool:
        """Whether all of them have begun their second week."""
        return (await self.histories())["create", "turn"] == SUBSCRIPTIONS

    async def check(self) -> None:
        """Each has turned once: in its history, in what was granted and expired, and in what was told."""
        assert await self.histories() == TURNED
        statement = "SELECT kind, count(*) AS n FROM ledger_transactions GROUP BY account_id, kind"
        moves = Counter((row["kind"], row["n"]) for row in await self._connection.fetch(statement))
        assert moves == {("grant", 2): SUBSCRIPTIONS, ("expiry", 1): SUBSCRIPTIONS}
        statement = "SELECT type, count(*) AS n FROM outbox WHERE type LIKE 'subscription.%' GROUP BY type"
        told = {row["type"]: row["n"] for row in await self._connection.fetch(statement)}
        assert told == {"subscription.created": SUBSCRIPTIONS, "subscription.renewed": SUBSCRIPTIONS}
        report = await self._stack.verify()
        assert [found.finding for found in report.findings] == []


@asynccontextmanager
async def due(stack: Stack, spread: timedelta = timedelta()) -> AsyncIterator[Due]:
    """Subscriptions of a tenant of their own."""
    connection = await asyncpg.connect(stack.stores.database_url)
    try:
        async with open_session() as session:
            made = Due(stack, await stack.tenant(session), connection, spread)
            await made.prepare()
            yield made
    finally:
        await connection.close()


async def more_of_them(stack: Stack) -> None:
    """Three processes that tick, and two that post, each half of the partitions."""
    for kind, name in (("jobs", "jobs_2"), ("jobs", "jobs_3"), ("flusher", "flusher_2")):
        stack.add(kind, name)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_however_many_tick_and_post(tmp_path: Path) -> None:
    """48: three processes of jobs and two flushers; each period turns once."""
    async with running_stack(tmp_path, more_of_them) as stack, due(stack) as subscriptions:
        await subscriptions.come()
        await wait_until_async(subscriptions.have_turned, 60, "all periods to turn")
        await subscriptions.check()


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_whenever_the_flusher_is_killed(tmp_path: Path) -> None:
    """48: killed again and again while all of them are due; each is renewed once."""
    random = Random(48)
    async with running_stack(tmp_path) as stack, due(stack, SPREAD) as subscriptions:
        await subscriptions.come()
        for number in range(KILLS):
            wanted = SUBSCRIPTIONS * (number + random.random()) / (KILLS + 1)

            async def has_come_so_far(wanted: float = wanted) -> bool:
                return (await subscriptions.histories())["create", "turn"] > wanted

            await wait_until_async(has_come_so_far, 30, f"{wanted:.0f} periods to turn")
            await stack.kill("flusher")
            stack.start("flusher")
        await wait_until_async(subscriptions.have_turned, 60, "all periods to turn")
        await subscriptions.check()
