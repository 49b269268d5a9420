"""Who takes turns in being taken in: many customers at once, of whom none holds up another, through any fault."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from app.embedded.valkey import EmbeddedValkey
from edge.draining import CUSTOMERS_AT_ONCE, EVENTS_AT_ONCE
from tests.edge.spooling import SECONDS, away, edge_on, event_ids, files, is_empty
from tests.edge.world import Tenant, now_at
from tests.waiting import wait_until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")

STUCK = 3 * CUSTOMERS_AT_ONCE
"""More than have turns at once."""
OTHERS = 3
EVENTS = 5 * EVENTS_AT_ONCE
"""Of each of the others: several turns."""
SOON_SECONDS = 10
"""Less than it takes if those who wait hold turns, were it only once each."""


@pytest_asyncio.fixture(loop_scope="session")
async def tenant(own_valkey: EmbeddedValkey, spool: Path) -> AsyncIterator[Tenant]:
    """An environment on an edge and a server of the test's own, and a key that both know."""
    async with edge_on(own_valkey.url, spool) as world:
        tenant = await world.tenant()
        await tenant.seed("user_1")
        assert (await tenant.use("user_1")).status == 202
        yield tenant


async def spool_many(tenant: Tenant, users: list[str], count: int) -> list[str]:
    """So many events of each, in batches of one of each; the ids that were acknowledged, in that order."""
    sent = list[str]()
    events = [{"end_user_id": user, "feature_key": "api_calls"} for user in users]
    for _ in range(count):
        results = (await tenant.batch(events)).body["results"]
        assert {result["durability"] for result in results} == {"spooled"}
        sent += [result["event_id"] for result in results]
    return sent


@pytest.mark.parametrize("obstacle", ["a boundary", "a core that says nothing"])
async def test_those_who_wait_hold_no_turns(tenant: Tenant, own_valkey: EmbeddedValkey, obstacle: str) -> None:
    """More customers have to wait than are drained at once, for long; all usage of the others is taken in soon."""
    stuck = [f"stuck_{number}" for number in range(STUCK)]
    others = [f"other_{number}" for number in range(OTHERS)]
    is_over = asyncio.Event()

    async def say_nothing(question: dict[str, Any]) -> str:
        del question
        await is_over.wait()
        return "busy"

    tenant.world.core.answers["accounts"] = say_nothing
    for user in stuck if obstacle == "a boundary" else ():
        await tenant.seed(user, valid_until=now_at() - 1)
    for user in others:
        await tenant.seed(user)
    await away(tenant, own_valkey)
    await spool_many(tenant, stuck, 1)
    sent = await spool_many(tenant, others, EVENTS)
    own_valkey.start()
    await tenant.world.edge.ready()

    async def are_taken_in() -> bool:
        return [len(await event_ids(tenant, user)) for user in others] == [EVENTS] * OTHERS

    await wait_until_async(are_taken_in, SOON_SECONDS, "the others are taken in")
    is_over.set()
    for number, user in enumerate(others):
        assert await event_ids(tenant, user) == sent[number::OTHERS]
    for user in stuck:
        assert await event_ids(tenant, user) == []


async def test_redis_dies_while_everybody_is_drained(tenant: Tenant, own_valkey: EmbeddedValkey, spool: Path) -> None:
    """At the full width, killed twice in the midst of it: every acknowledged event is recorded once, in its order."""
    users = [f"user_{number}" for number in range(2, 2 + CUSTOMERS_AT_ONCE)]
    for user in users:
        await tenant.seed(user)
    await away(tenant, own_valkey)
    sent = await spool_many(tenant, users, EVENTS)
    for taken_in in (1, EVENTS // 4):
        own_valkey.start()

        async def has_begun(taken_in: int = taken_in) -> bool:
            return len(await event_ids(tenant, users[0])) > taken_in

        await wait_until_async(has_begun, SECONDS, "it is drained")
        os.kill(own_valkey.pid, signal.SIGKILL)
        await tenant.world.redis.connection_pool.disconnect()
        assert files(spool), "it was drained before it was killed"
    own_valkey.start()
    await is_empty(spool)
    found = await asyncio.gather(*[event_ids(tenant, user) for user in users])
    assert found == [sent[number :: len(users)] for number in range(len(users))]
