"""Gauges on their way into the ledger and back: noted in the stream's order, and there again when Redis was emptied."""

from datetime import timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from app.flusher.batch import post_batch
from app.io.postgres import Database
from app.jobs.holds import KEPT, HoldSweeper
from app.metering.holds import HoldChange
from app.metering.store import write_holds
from app.rules.moments import to_at
from app.wire import keys, scripts
from app.wire.events import EntryKind, StreamEntry
from app.wire.gauges import MAX_HOLDERS, GaugeAcquired, GaugeReleased, encode_gauge
from tests.flusher.batch_subjects import make_account
from tests.flusher.world import World
from tests.rules.laws import LAW
from tests.waiting import wait_until_async

SECOND, CAP = 1_000_000, 3
changes = st.builds(
    GaugeAcquired,
    *(st.sampled_from(["f", "g"]), st.sampled_from(["x", "y"]), st.integers(1, 5)),
    st.none() | st.integers(0, 50),
) | st.builds(GaugeReleased, st.sampled_from(["f", "g"]), st.sampled_from(["x", "y"]))


async def acquire(world: World, holder: str, seconds: int = 0) -> Any:
    """A holder asks for one of three seats, as an edge sends it; the script's answer."""
    snapshot_id = (await world.view("u")).snapshot_id
    payload = encode_gauge(GaugeAcquired("seats", holder, 1))
    head = (to_at(world.clock.now()), snapshot_id, world.ref("u"), "seats", holder, 1, seconds * SECOND)
    return await world.redis.run(scripts.ACQUIRE, gauge_keys(world), [*head, CAP, payload, 10**6, MAX_HOLDERS])


async def release(world: World, holder: str) -> Any:
    """The holder gives its seat back."""
    snapshot_id = (await world.view("u")).snapshot_id
    head = (to_at(world.clock.now()), snapshot_id, world.ref("u"), "seats", holder)
    payload = encode_gauge(GaugeReleased("seats", holder))
    return await world.redis.run(scripts.RELEASE, gauge_keys(world), [*head, payload, 10**6])


def gauge_keys(world: World) -> list[bytes]:
    """What the two scripts touch."""
    ref = world.ref("u")
    partition = world.redis.partition(ref)
    return [kind(partition, ref) for kind in (keys.account, _stream, keys.gauge, keys.gauge_due)]


def _stream(partition: int, _ref: bytes) -> bytes:
    return keys.stream(partition)


async def in_redis(world: World) -> tuple[dict[bytes, bytes], list[Any]]:
    """What Redis has of the gauges."""
    await world.view("u")
    _, _, gauge, due = gauge_keys(world)
    return await world.redis.client.hgetall(gauge), await world.redis.client.zrange(due, 0, -1, withscores=True)


@LAW
@given(st.lists(changes, max_size=12), st.data())
def test_the_last_change_of_a_holder_counts(made: list[GaugeAcquired | GaugeReleased], data: st.DataObject) -> None:
    """However the stream is cut into batches, and no ledger transaction comes of it."""
    cuts = sorted({0, len(made), *data.draw(st.lists(st.integers(0, len(made)), max_size=3))})
    account, noted = make_account("a", []), {}
    for start, end in pairwise(cuts):
        entries = [
            StreamEntry((1, number), b"a", EntryKind.GAUGE, 100 + number, 1, 0, None, gauge=made[number])
            for number in range(start, end)
        ]
        posting = post_batch({b"a": account}, [*entries], set())
        assert (posting.transactions, posting.events, posting.rejected) == ([], [], [])
        noted |= posting.holds
    expected: dict[tuple[UUID, str, str], HoldChange] = {}
    for number, change in enumerate(made):
        units, ends = (change.units, change.expires_at) if isinstance(change, GaugeAcquired) else (0, None)
        whose = account.environment_id, account.id, change.feature_key, change.holder
        expected[whose[1:]] = HoldChange(*whose, units, ends, 100 + number)
    assert noted == expected
    assert account.posted_at >= max((change.changed_at for change in expected.values()), default=0)


async def test_what_is_held_is_there_again_when_redis_was_emptied(world: World) -> None:
    """With units and times, and without those who released or whose time was over; the cap holds as before."""
    await world.customer("u", 10)
    async with world.flusher():
        assert (await acquire(world, "stays"))[:2] == [b"ok", 1]
        assert (await acquire(world, "goes"))[:2] == [b"ok", 2]
        [_, used, ends] = await acquire(world, "ends", 3600)
        assert used == 3
        assert await acquire(world, "fourth") == [b"limit", 3]
        assert await release(world, "goes") == [b"ok", 1, 2]
        await world.at_rest("u")
        before = await in_redis(world)
        await world.redis.client.flushall()
        await world.redis.check_agreement()
        assert await in_redis(world) == before
        assert before[0] == {b"seats": b"2", b"seats\0": b"2", b"seats\0stays": b"1", b"seats\0ends": b"1"}
        assert before[1] == [(b"seats\0ends", float(ends))]
        assert (await acquire(world, "fourth"))[:2] == [b"ok", 3]
        assert await acquire(world, "fifth") == [b"limit", 3]
    assert await world.ledger("SELECT 1 FROM ledger_transactions WHERE kind <> 'grant'") == []
    assert (await world.verify()).findings == []


async def test_a_new_incarnation_takes_both_keys_along(world: World) -> None:
    """What is held in a memory that does not count any more is dropped with its account, and loaded again."""
    await world.customer("u", 10)
    async with world.flusher():
        await acquire(world, "known", 3600)
        await world.at_rest("u")
    _, _, gauge, due = gauge_keys(world)
    await world.redis.client.hset(gauge, mapping={"seats": 2, "seats\0": 2, "seats\0unknown": 1})
    await world.redis.client.zadd(due, {"seats\0unknown": 2**50})
    partition = world.redis.partition(world.ref("u"))
    await world.redis.client.hset(keys.meta(partition), "incarnation", UUID(int=9).hex)
    async with world.flusher():

        async def is_dropped() -> bool:
            return not await world.redis.client.exists(gauge, due)

        await wait_until_async(is_dropped, 20, "the gauge to be dropped")
        held, ends = await in_redis(world)
    assert held.keys() == {b"seats", b"seats\0", b"seats\0known"}
    assert [name for name, _ in ends] == [b"seats\0known"]


async def test_an_older_entry_changes_nothing(world: World) -> None:
    """A stream that is read again from its first entry leaves what is known as it is."""
    account_id = await world.customer("u", 10)
    database = await Database.open(world.urls["quotastack_flusher"], "flusher", 1)

    async def write(units: int, changed_at: int) -> int:
        change = HoldChange(world.environment_id, account_id, "seats", "a", units, None, changed_at)
        await database.run(None, lambda tx: write_holds(tx, [change]))
        [row] = await world.ledger("SELECT units FROM gauge_holds")
        return row["units"]

    assert [await write(*step) for step in ((1, 10), (2, 12), (0, 14))] == [1, 2, 0]
    assert [await write(*step) for step in ((1, 10), (2, 12), (0, 14))] == [0, 0, 0]
    assert await write(5, 14) == 5
    await database.close()


async def test_holders_that_ended_long_ago_are_forgotten(world: World) -> None:
    """And no others: neither who holds, however long, nor who ended lately."""
    account_id, now = await world.customer("u", 10), world.clock.now()
    long_ago, lately = now - KEPT - timedelta(seconds=1), now - KEPT + timedelta(seconds=1)
    cases = {
        "holds": (1, None, long_ago),
        "will end": (1, now, long_ago),
        "ended": (1, long_ago, long_ago),
        "ended lately": (1, lately, long_ago),
        "released": (0, None, long_ago),
        "released lately": (0, None, lately),
    }
    held = [
        HoldChange(
            *(world.environment_id, account_id, "seats", holder, units),
            None if ends is None else to_at(ends),
            to_at(changed),
        )
        for holder, (units, ends, changed) in cases.items()
    ]
    flusher = await Database.open(world.urls["quotastack_flusher"], "flusher", 1)
    await flusher.run(None, lambda tx: write_holds(tx, held))
    await flusher.close()
    jobs = await Database.open(world.urls["quotastack_jobs"], "jobs", 1)
    sweeper = HoldSweeper(jobs, world.clock)
    assert [await sweeper.round(now), await sweeper.round(now)] == [2, 0]
    await jobs.close()
    left = {row["holder"] for row in await world.ledger("SELECT holder FROM gauge_holds")}
    assert left == {"holds", "will end", "ended lately", "released lately"}
