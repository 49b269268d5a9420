"""The loop of jobs, and whose turn it is in a round: nobody is held up by another, and nothing is told twice."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from app.entitlements.loading import Outcome
from app.errors import ServiceError
from app.io.postgres import Database
from app.io.redis import RedisStore, RedisUnavailable
from app.jobs import sweep, turns
from app.jobs.reload import Reloader
from app.jobs.rounds import Pace, run_rounds
from app.jobs.sweep import Sweeper
from app.jobs.turns import Partitions, Turns
from app.rules.moments import to_at
from app.wire import keys
from app.wire.codes import Code
from tests.flusher.test_sweep import NOW, FixedClock, load, reserve, state
from tests.flusher.world import AGREEMENT, World

LONG_SECONDS = 600.0
MANY = 5
MORE, DONE = True, False
DUE = NOW + timedelta(minutes=1)
LATER = datetime(2099, 1, 1, tzinfo=UTC)


class Script:
    """Rounds that go as they are told, the last of which stops the loop."""

    def __init__(self, stop: asyncio.Event, *ends: bool | Exception) -> None:
        self._stop = stop
        self._ends = list(ends)

    async def round(self) -> bool:
        """The next one."""
        end = self._ends.pop(0)
        if not self._ends:
            self._stop.set()
        if isinstance(end, Exception):
            raise end
        return end


async def rounds(pace: Pace, *ends: bool | Exception) -> list[tuple[str, str | None]]:
    """What is logged: (event, kind of the failure)."""
    stop = asyncio.Event()
    with capture_logs() as logged:
        await asyncio.wait_for(run_rounds(Script(stop, *ends).round, pace, stop), 10)
    assert {line["of"] for line in logged} <= {"sweeps"}
    return [(line["event"], line.get("kind")) for line in logged]


async def test_a_failure_is_told_when_it_begins_and_when_it_is_over() -> None:
    """However many rounds it lasts, alone or among others; another kind is told by itself."""
    away, silent = RedisUnavailable("away"), ServiceError(Code.STORE_UNAVAILABLE, "silent")
    pace = Pace("sweeps", 0)
    both = ExceptionGroup("both", [away, silent])
    assert await rounds(pace, DONE, away, away, both, silent, away, DONE, DONE, away) == [
        ("round_failed", "RedisError"),
        ("round_failed", "ServiceError"),
        ("rounds_go_on", None),
        ("round_failed", "RedisError"),
    ]


async def test_what_is_no_failure_of_a_store_ends_the_loop() -> None:
    """A mistake of ours is seen, in place of being tried for ever."""
    with pytest.raises(ZeroDivisionError):
        await rounds(Pace("sweeps", 0), ZeroDivisionError(), DONE)


async def test_where_there_is_more_the_next_round_follows_at_once() -> None:
    """And a round that failed rests as it is told to."""
    assert await rounds(Pace("sweeps", LONG_SECONDS), MORE, MORE, DONE) == []
    pace = Pace("sweeps", LONG_SECONDS, rest_after_failure_seconds=0)
    assert len(await rounds(pace, RedisUnavailable("away"), DONE)) == 2


def names_in(redis: RedisStore, environment_id: UUID, partition: int) -> Iterator[str]:
    """End users of a partition."""
    environment = keys.environment_ref(environment_id)
    names = (f"user_{number}" for number in range(10_000))
    return (name for name in names if redis.partition(keys.account_ref(environment, name)) == partition)


def make_slow(
    monkeypatch: pytest.MonkeyPatch, redis: RedisStore, slow: int, is_done: Callable[[str], bool]
) -> list[str]:
    """Loads of one partition take until all of `is_done` are loaded, and find it busy; whom was asked for there."""
    genuine, asked, passed = turns.load_account, list[str](), asyncio.Event()

    async def load_account(
        database: Database, redis_: RedisStore, environment_id: UUID, end_user_id: str, *, wait_seconds: float
    ) -> Outcome:
        ref = keys.account_ref(keys.environment_ref(environment_id), end_user_id)
        if redis.partition(ref) == slow:
            asked.append(end_user_id)
            await asyncio.wait_for(passed.wait(), 20)
            return "busy"
        outcome = await genuine(database, redis_, environment_id, end_user_id, wait_seconds=wait_seconds)
        if is_done(end_user_id):
            passed.set()
        return outcome

    monkeypatch.setattr(turns, "load_account", load_account)
    return asked


async def forgotten(world: World, slow: int, other: int) -> tuple[list[str], list[str]]:
    """Customers of one partition, and as many of another; none of them in Redis."""
    groups = []
    for partition in (slow, other):
        names = names_in(world.redis, world.environment_id, partition)
        groups.append([next(names) for _ in range(MANY)])
    await load(world, *groups[0], *groups[1])
    return groups[0], groups[1]


async def forget(world: World, names: Sequence[str]) -> None:
    """As a memory that was lost."""
    for ref in map(world.ref, names):
        await world.redis.client.delete(keys.account(world.redis.partition(ref), ref))


async def test_a_slow_partition_does_not_hold_up_the_sweep(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """All pages of the others end while its first load is under way, and it is asked for nothing more in this round."""
    monkeypatch.setattr(sweep, "PAGE", 2)
    slow, other = await forgotten(world, 0, 1)
    waiting = [await reserve(world, name, "k") for name in slow]
    swept = [await reserve(world, name, "k") for name in other]
    async with world.flusher():  # a load waits for what is in the stream, the expiries of the page before among it
        for name in (*slow, *other):
            await world.at_rest(name)
        await forget(world, [*slow, *other])
        asked = make_slow(monkeypatch, world.redis, 0, lambda name: name == other[-1])
        assert await Sweeper(world.core, world.redis, FixedClock(DUE)).round(asyncio.Event()) == len(swept)
    assert {await state(world, where) for where in swept} == {b"expired"}
    assert {await state(world, where) for where in waiting} == {b"open"}
    assert len(asked) == 1


async def test_a_slow_partition_does_not_hold_up_reloads(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accounts of the others are loaded while its first one is waited for, though they fell due later."""
    slow, other = await forgotten(world, 0, 1)
    for number, name in enumerate([*slow, *other]):
        await world.reserve(name, number + 1, 1, to_at(NOW) + number)
    async with world.flusher():
        for name in (*slow, *other):
            await world.at_rest(name)
    await forget(world, [*slow, *other])
    asked = make_slow(monkeypatch, world.redis, 0, lambda name: name == other[-1])
    jobs = await Database.open(world.urls["quotastack_jobs"], "test", MANY)
    assert await Reloader(jobs, world.redis, FixedClock(LATER)).round(asyncio.Event()) == len(other) + 1
    await jobs.close()
    assert asked == slow[:1]
    views = [await world.redis.read_account(world.environment_id, name) for name in other]
    assert None not in views


async def test_a_server_that_is_away_holds_up_nobody_else(world: World) -> None:
    """Its partitions have no further turn, the others do theirs, and in the end it is told."""
    turns_, met = Turns(world.core, world.redis, [[0, 2], [1, 3]], asyncio.Event()), list[int]()

    async def work(partitions: Partitions) -> int:
        if 0 in partitions:
            raise RedisUnavailable("away")
        met.extend(partitions)
        return len(partitions)

    assert [await turns_.at_each_server(work) for _ in range(2)] == [2, 2]
    assert met == [1, 3, 1, 3]
    assert [turns_.has(partition) for partition in range(AGREEMENT.partitions)] == [False, True, False, True]
    with pytest.raises(ExceptionGroup) as raised:
        turns_.end()
    assert len(raised.value.exceptions) == 1


async def test_what_can_be_swept_is_swept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a server that is away, whose reservations have their turn once it is back."""
    here, there = (next(names_in(world.redis, world.environment_id, partition)) for partition in (0, 1))
    await load(world, here, there)
    swept, waiting = await reserve(world, here, "k"), await reserve(world, there, "k")
    genuine = sweep.list_due

    async def list_due(redis: RedisStore, partitions: Partitions, now_at: int, page: int) -> list[tuple[int, bytes]]:
        if 1 in partitions:
            raise RedisUnavailable("away")
        return await genuine(redis, partitions, now_at, page)

    async def by_server() -> list[list[int]]:
        return [[1, 3], [0, 2]]

    sweeper = Sweeper(world.core, world.redis, FixedClock(DUE))
    monkeypatch.setattr(world.redis, "partitions_by_server", by_server)
    monkeypatch.setattr(sweep, "list_due", list_due)
    with pytest.raises(ExceptionGroup):
        await sweeper.round(asyncio.Event())
    assert (await state(world, swept), await state(world, waiting)) == (b"expired", b"open")
    monkeypatch.setattr(sweep, "list_due", genuine)
    assert await sweeper.round(asyncio.Event()) == 1
