"""Everything that changes endpoints, queues and deliveries at once: each waits for others, but never in a ring."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from uuid import UUID

from app.io.postgres import Transaction
from app.webhooks import pruning, service
from app.webhooks.schemas import EndpointChange, NewReplay
from app.webhooks.service import Caller, Installation
from app.wire.ids import show
from tests.app.schema.catalogue import connected
from tests.conftest import DatabaseUrls
from tests.webhooks.stage import KEY, TAKEN, Delivery, Sent, Stage, open_stage, refuse, url

ROUNDS = 40
CUSTOMERS = ("ada", "ben", "cyd", "dan")


async def test_nobody_waits_in_a_ring(urls: DatabaseUrls) -> None:
    """While events are sent, refused, sent again, added and forgotten, and their endpoint is changed."""
    async with open_stage(urls) as stage:
        endpoint_id = await stage.endpoint("a")
        stage.answers[url("a")] = partial(_take_some, Random(1))
        for end_user_id in CUSTOMERS * 3:
            await stage.tell(end_user_id)
        await stage.placed()
        async with stage.delivering(2):
            await asyncio.gather(*(_repeat(stage, work) for work in await _works(stage, endpoint_id)))
        await stage.waiting_is_right()
    assert await _deadlocks(urls) == 0


async def _take_some(chance: Random, sent: Sent) -> Delivery:
    await asyncio.sleep(0)
    return TAKEN if chance.random() < 0.5 else await refuse(500)(sent)


Work = Callable[[Transaction], Awaitable[object]]


async def _works(stage: Stage, endpoint_id: UUID) -> list[Work]:
    rows = await stage.owned("SELECT id, event_id FROM webhook_deliveries ORDER BY place")
    backwards = [show("evt", row["event_id"]) for row in reversed(rows)]
    replay = NewReplay(show("whe", endpoint_id), event_ids=backwards)
    caller = Caller(Installation(KEY, (), "never"), "sandbox", stage.clock.now())
    chance = Random(2)

    async def switch(tx: Transaction) -> None:
        for enabled in (False, True):
            await service.change_endpoint(tx, caller, endpoint_id, EndpointChange(enabled=enabled))

    return [
        *[lambda tx: service.replay(tx, replay, stage.clock.now())] * 2,
        lambda tx: service.retry(tx, chance.choice(rows)["id"], stage.clock.now()),
        switch,
    ]


async def _repeat(stage: Stage, work: Work) -> None:
    for number in range(ROUNDS):
        await stage.core.run(stage.environment_id, work)
        await stage.tell(CUSTOMERS[number % len(CUSTOMERS)])
        await stage.placed()
        await stage.jobs.run(None, lambda tx: pruning.forget(tx, stage.environment_id, stage.clock.now()))


async def _deadlocks(urls: DatabaseUrls) -> int:
    """How many there were in this database; sessions tell of theirs when they end."""
    async with connected(urls.owner) as connection:
        return await connection.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
