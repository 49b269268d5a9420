"""What jobs does for a sandbox whose time stands still: it goes by that time, and leaves alone what only time ends."""

import asyncio
from datetime import UTC, datetime, timedelta

from app.io.clock import FrozenClock
from app.io.postgres import Database, Transaction
from app.jobs.holds import KEPT, HoldSweeper
from app.jobs.reload import Reloader
from app.jobs.tick import Ticker
from app.metering.holds import HoldChange
from app.metering.store import write_holds
from app.rules.moments import to_at
from app.wire import keys
from tests.flusher.test_sweep import load, reserve, state, sweep
from tests.flusher.world import CREDIT, World

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


async def put_on_clock(world: World, frozen_at: datetime, *end_user_ids: str) -> None:
    """The environment has a clock from now on, and these customers, who are loaded, know it."""

    async def set_clock(tx: Transaction) -> None:
        statement = """
            INSERT INTO test_clocks (environment_id, frozen_at, created_at) VALUES ($1, $2, $2)
            ON CONFLICT (environment_id) DO UPDATE SET frozen_at = excluded.frozen_at
        """
        await tx.connection.execute(statement, tx.environment, frozen_at)

    await world.core.run(world.environment_id, set_clock)
    await world.redis.set_clock([(world.ref(end_user_id), to_at(frozen_at)) for end_user_id in end_user_ids], b"token")


async def ticks(world: World, end_user_id: str) -> list[int]:
    """When the customer was ticked."""
    ref = world.ref(end_user_id)
    entries = await world.redis.client.xrange(keys.stream(world.redis.partition(ref)))
    return [int(fields[b"t"]) for _, fields in entries if fields[b"a"] == ref and fields[b"k"] == b"t"]


async def test_ticks_come_by_the_clock(world: World) -> None:
    """What falls due by the clock is ticked, dated by it, whatever the real time; and nothing by the real time."""
    async with world.flusher():
        await world.customer("u", 10, datetime.now(UTC) + DAY)
        expires_at = to_at(datetime.now(UTC) + DAY)
        await world.view("u")
    jobs = await Database.open(world.urls["quotastack_jobs"], "jobs", 2)
    later, earlier = FrozenClock(datetime.now(UTC) + 9 * DAY), FrozenClock(datetime.now(UTC) - 9 * DAY)
    await put_on_clock(world, datetime.now(UTC) + MINUTE, "u")
    assert await Ticker(jobs, world.redis, later).round(asyncio.Event()) == 0
    await put_on_clock(world, datetime.now(UTC) + 2 * DAY)
    assert await Ticker(jobs, world.redis, earlier).round(asyncio.Event()) == 1
    assert await ticks(world, "u") == []  # the account's clock has not been moved yet
    await put_on_clock(world, datetime.now(UTC) + 2 * DAY, "u")
    [ticked_at] = await ticks(world, "u")
    assert ticked_at >= expires_at
    await jobs.close()


async def test_no_sweep_ends_what_is_on_a_clock(world: World) -> None:
    """Neither what was opened since the clock stands still nor what was before; that of others ends as always."""
    await load(world, "frozen", "goes on")
    before = await reserve(world, "frozen", "before")
    await world.redis.set_clock([(world.ref("frozen"), to_at(NOW))], b"token")
    since, other = await reserve(world, "frozen", "since"), await reserve(world, "goes on", "k")
    assert await sweep(world, NOW + DAY) == 2  # one is put apart, one has ended
    assert [await state(world, where) for where in (before, since, other)] == [b"open", b"open", b"expired"]
    assert await sweep(world, NOW + DAY) == 0


async def test_nobody_reloads_what_is_on_a_clock(world: World) -> None:
    """A reservation that is open long past its due time by ours is none that should have ended."""
    async with world.flusher():
        await world.customer("u", 10)
        await world.reserve("u", 1, 3, to_at(datetime.now(UTC) - DAY))
        await world.at_rest("u")
    jobs = await Database.open(world.urls["quotastack_jobs"], "jobs", 2)
    reloader = Reloader(jobs, world.redis, world.clock)
    assert await reloader.round(asyncio.Event()) == 1
    await put_on_clock(world, datetime.now(UTC) - 2 * DAY)
    assert await reloader.round(asyncio.Event()) == 0
    await jobs.close()


async def test_holders_on_a_clock_are_kept(world: World) -> None:
    """By their clock their time may not be over."""
    account_id, long_ago = await world.customer("u", 10 * CREDIT), datetime.now(UTC) - 2 * KEPT
    whose = world.environment_id, account_id, "seats", "x"
    ended = HoldChange(*whose, 1, to_at(long_ago), to_at(long_ago))
    flusher = await Database.open(world.urls["quotastack_flusher"], "flusher", 1)
    await flusher.run(None, lambda tx: write_holds(tx, [ended]))
    await flusher.close()
    await put_on_clock(world, long_ago)
    jobs = await Database.open(world.urls["quotastack_jobs"], "jobs", 1)
    assert await HoldSweeper(jobs, world.clock).round(datetime.now(UTC)) == 0
    await jobs.close()
    assert len(await world.ledger("SELECT holder FROM gauge_holds")) == 1
