"""Ticks for what is due: everybody gets theirs, and what waits for the flusher is not ticked again and again."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from app.flusher import writer
from app.flusher.batch import post_batch
from app.io.postgres import Database
from app.jobs import tick
from app.jobs.tick import Ticker
from app.rules.moments import to_at
from app.wire import keys
from tests.flusher.test_sweep import FixedClock
from tests.flusher.world import AGREEMENT, World
from tests.waiting import wait_until_async

HOUR = timedelta(hours=1)


@pytest.fixture
def clock() -> FixedClock:
    """The ticker's: a day from now."""
    return FixedClock(datetime.now(UTC) + 24 * HOUR)


@pytest.fixture
async def ticker(world: World, clock: FixedClock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ticker]:
    """One that looks at pages of two accounts."""
    monkeypatch.setattr(tick, "PAGE", 2)
    database = await Database.open(world.urls["quotastack_jobs"], "test", 1)
    yield Ticker(database, world.redis, clock)
    await database.close()


async def add_due(world: World, *names: str, hours: int) -> None:
    """Loaded customers whose credit expires so many hours from now."""
    for name in names:
        await world.customer(name, 100, datetime.now(UTC) + hours * HOUR)
        await world.view(name)


async def ticks(world: World) -> int:
    """How many there are in the streams."""
    lengths = [await world.redis.client.xlen(keys.stream(partition)) for partition in range(AGREEMENT.partitions)]
    return sum(lengths)


async def test_a_round_goes_on_where_the_last_one_ended(world: World, ticker: Ticker, clock: FixedClock) -> None:
    """Nobody posts meanwhile: all are ticked once, then the first page and those who fell due after the others."""
    async with world.flusher():
        await add_due(world, *"abcde", hours=1)
        await add_due(world, "late", hours=25)
    assert [await ticker.round(asyncio.Event()) for _ in range(2)] == [5, 2]
    clock.at += 2 * HOUR
    assert [await ticker.round(asyncio.Event()) for _ in range(2)] == [3, 2]
    assert await ticks(world) == 6


async def test_whoever_lost_their_tick_gets_another(world: World, ticker: Ticker) -> None:
    """As others are posted they are the first, wherever the last round ended."""
    async with world.flusher():
        await add_due(world, *"abcde", hours=1)
    assert await ticker.round(asyncio.Event()) == 5
    for ref in map(world.ref, "abcde"):
        await world.redis.client.hset(keys.account(world.redis.partition(ref), ref), "ticked", 0)
    for partition in range(AGREEMENT.partitions):
        await world.redis.client.xtrim(keys.stream(partition), 0)
    assert [await ticker.round(asyncio.Event()) for _ in range(2)] == [2, 2]
    async with world.flusher():

        async def all_posted() -> bool:
            await ticker.round(asyncio.Event())
            return not await world.ledger("SELECT FROM accounts WHERE valid_until IS NOT NULL")

        await wait_until_async(all_posted, 20, "all that is due to be posted")
    assert (await world.verify()).findings == []


async def test_it_begins_anew_where_somebody_was_left_out(
    world: World, ticker: Ticker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose partition lost its turn has it in the next round, wherever that one ended."""
    async with world.flusher():
        await add_due(world, *"abcde", hours=1)
    monkeypatch.setattr(tick.Turns, "left_some_out", True)
    assert await ticker.round(asyncio.Event()) == 5
    assert await ticker.round(asyncio.Event()) == 5


async def test_a_tick_that_stops_half_way_is_followed_by_another(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The flusher leaves it behind what came meanwhile, until nothing is due: nobody else ticks here."""
    monkeypatch.setattr(writer, "post_batch", partial(post_batch, most_due=1))
    now = datetime.now(UTC)
    async with world.flusher():
        customer_id = await world.customer("u", 100, now + HOUR)
        for hours in range(2, 6):
            await world.grant(customer_id, 100, now + hours * HOUR)
        await world.view("u")
        await world.redis.tick([world.ref("u")], to_at(now + 24 * HOUR))

        async def all_posted() -> bool:
            return not await world.ledger("SELECT FROM accounts WHERE valid_until IS NOT NULL")

        await wait_until_async(all_posted, 20, "all that is due to be posted")
    assert await ticks(world) == 5
    expired = await world.ledger("SELECT posted_at FROM ledger_transactions WHERE kind = 'expiry' ORDER BY seq")
    assert [row["posted_at"] for row in expired] == [now + hours * HOUR for hours in range(1, 6)]
    assert (await world.verify()).findings == []
