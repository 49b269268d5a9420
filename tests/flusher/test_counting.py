"""47: units by period. Whatever the lag, the same counters; and on real servers: periods that end, loads, voids."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from app.flusher.batch import Posting
from app.io.postgres import Transaction
from app.ledger.book import Account
from app.ledger.targets import Targets
from app.rules.moments import NEVER_AT, to_at
from app.rules.periods import Calendar, Counting, IntervalUnit, Period, calendar_month, period_containing
from app.trail import dirty
from app.wire import keys
from app.wire.events import EntryKind, StreamEntry
from app.wire.orders import VoidUsage, encode_order
from tests.flusher.batch_subjects import PRICE, Ledger, make_account, make_block, ref_of, tick, usage
from tests.flusher.world import CREDIT, World
from tests.rules.laws import LAW
from tests.waiting import wait_until_async

DAY = 86_400_000_000
CALENDAR = Calendar(0, IntervalUnit.DAY, 1, "UTC")


# ---- the law, on the pure part

steps = st.lists(
    st.tuples(
        st.sampled_from(["use", "use", "use", "uncounted", "tick", "void"]),
        st.integers(0, DAY),
        st.integers(1, 9),
        st.sampled_from(["f", "g"]),
    ),
    max_size=14,
)


def counted_account() -> Account:
    """An account in the first day of its calendar, with some credit that ends within it."""
    account = make_account("u", [make_block(1, 20, DAY // 2), make_block(2, 10)])
    account.counting = Counting(CALENDAR, Period(0, DAY))
    return account


def make_entries(program: list[tuple[str, int, int, str]]) -> list[StreamEntry]:
    """Entries in the order of time, counted in the period that a script would have seen; voids of what was used."""
    entries: list[StreamEntry] = []
    at = 0
    for number, (verb, step, units, feature_key) in enumerate(program, 1):
        at += step
        if verb == "tick":
            entries.append(tick("u", at))
            continue
        if verb == "void":
            order = VoidUsage(order_id=UUID(int=1000 + number), actor="a", event_id=UUID(int=units))
            entries.append(StreamEntry((at, number), ref_of("u"), EntryKind.ORDER, at, 1, 0, None, order))
            continue
        entry = usage("u", number, units, at)
        assert entry.payload is not None
        payload = structs.replace(entry.payload, feature_key=feature_key, units_micro=units)
        period_at = period_containing(CALENDAR, at).start_at if verb == "use" else None
        entries.append(structs.replace(entry, payload=payload, period_at=period_at))
    return entries


def sums(postings: list[Posting]) -> dict[tuple[str, int], int]:
    """Counters of everything that was posted."""
    found = Counter[tuple[str, int]]()
    for row in (row for posting in postings for row in posting.counted):
        found[row.feature_key, row.period_at] += row.units_micro
    return dict(found)


def post(entries: list[StreamEntry], size: int) -> tuple[Account, dict[tuple[str, int], int]]:
    """The account and its counters after everything, posted in batches; orders find what was posted by then."""
    account, targets = counted_account(), Targets()
    ledger = Ledger([account])
    for start in range(0, len(entries), size):
        ledger.post([*entries[start : start + size]], targets=targets)
        targets.events |= {event.id: event for event in ledger.postings[-1].events}
    return account, sums(ledger.postings)


@LAW
@given(steps, st.integers(2, 14))
def test_lag_does_not_matter(program: list[tuple[str, int, int, str]], size: int) -> None:
    """One entry a batch, or several: the same counters in the same periods, and the same present period."""
    entries = make_entries(program)
    (one, by_one), (many, by_many) = post(entries, 1), post(entries, size)
    assert by_one == by_many
    assert one.counting == many.counting
    assert one.beside() == many.beside()


@LAW
@given(steps, st.integers(1, 14))
def test_counters_are_their_events(program: list[tuple[str, int, int, str]], size: int) -> None:
    """Of each period, what was counted in it less what was voided; the period is the one of the last entry."""
    entries = make_entries(program)
    account, counters = post(entries, size)
    events: dict[UUID, StreamEntry] = {}
    for entry in entries:
        if isinstance(entry.order, VoidUsage):
            events.pop(entry.order.event_id, None)
        elif entry.payload is not None:
            events[entry.payload.event_id] = entry
    expected = Counter[tuple[str, int]]()
    for entry in events.values():
        assert entry.payload is not None
        if entry.period_at is not None:
            expected[entry.payload.feature_key, entry.period_at] += entry.payload.units_micro
    assert {name: units for name, units in counters.items() if units} == expected
    last_at = entries[-1].accepted_at if entries else 0
    assert account.counting == Counting(CALENDAR, period_containing(CALENDAR, last_at))
    present = account.beside().period_at
    shown = {feature: units for feature, units in account.beside().used if units}
    assert shown == {feature: units for (feature, at), units in expected.items() if at == present}


def test_without_a_calendar_nothing_is_counted() -> None:
    """The account says nothing of periods, and no boundary comes of one."""
    account = make_account("u", [make_block(1, 20)])
    [posting] = Ledger([account]).post([usage("u", 1, 5, 3 * DAY)]).postings
    assert (posting.counted, account.counting, account.beside().period_at) == ([], None, 0)
    assert posting.events[0].price_id == PRICE


@pytest.mark.parametrize("end_at", [DAY, 3 * DAY])
def test_a_period_that_a_subscription_turns(end_at: int) -> None:
    """It goes on past its end, which is no boundary, until the subscription begins the next one."""
    account = make_account("u", [make_block(1, 20)])
    account.counting = Counting(None, Period(0, end_at))
    entry = structs.replace(usage("u", 1, 5, 2 * DAY), period_at=0)
    [posting] = Ledger([account]).post([entry, tick("u", 2 * DAY)]).postings
    assert [row.period_at for row in posting.counted] == [0]
    assert (account.counting, account.next_boundary()) == (Counting(None, Period(0, end_at)), NEVER_AT)
    assert account.beside().resets_at == end_at


# ---- on real servers


async def limit_calls(world: World, limit: int) -> None:
    """Give the feature `calls` a default limit, as core does."""

    async def work(tx: Transaction) -> None:
        statement = "UPDATE features SET limit_units_micro = $2 WHERE environment_id = $1"
        await tx.connection.execute(statement, tx.environment, limit * CREDIT)
        dirty.mark_environment(tx)

    await world.core.run(world.environment_id, work)


async def counters(world: World) -> list[Any]:
    """(period, units) of the ledger's counters."""
    rows = await world.ledger("SELECT period_at, units_micro FROM usage_counters ORDER BY period_at")
    return [(to_at(row["period_at"]), int(row["units_micro"]) // CREDIT) for row in rows]


async def used(world: World, end_user_id: str) -> int:
    """What Redis has counted of `calls`."""
    ref = world.ref(end_user_id)
    return int(await world.redis.client.hget(keys.used(world.redis.partition(ref), ref), "calls") or 0) // CREDIT


async def drop(world: World, end_user_id: str) -> None:
    """Forget the account and its counters, as a new incarnation does."""
    ref = world.ref(end_user_id)
    partition = world.redis.partition(ref)
    await world.redis.client.delete(keys.account(partition, ref), keys.used(partition, ref))


def this_month() -> Period:
    """The calendar month in UTC."""
    return period_containing(calendar_month(str(ZoneInfo("UTC"))), to_at(datetime.now(UTC)))


async def test_counting_begins_when_there_is_a_limit(world: World) -> None:
    """Units from then on are counted, in the calendar month; a load finds them; enforced usage ends at the limit."""
    await world.customer("u", 100)
    async with world.flusher():
        await world.use("u", "before", 3)
        await world.posted(1)
        await limit_calls(world, 10)
        assert (await world.use("u", "first", 4, limit=10))[0] == b"ok"
        await world.posted(2)
        assert await counters(world) == [(this_month().start_at, 4)]
        await world.at_rest("u")
        await drop(world, "u")
        assert (await world.use("u", "over", 7, limit=10))[1].startswith(b"!7000000:93000000:4000000:10000000:")
        assert (await world.use("u", "last", 6, limit=10))[1] == b"+6000000:87000000:0"
        await world.posted(3)
    assert await counters(world) == [(this_month().start_at, 10)]
    assert (await world.verify()).findings == []


async def test_a_period_that_ends_begins_anew(world: World) -> None:
    """At its end the account waits for the flusher, which turns the period; counters begin at 0, the old ones stay."""
    await world.customer("u", 100)
    await limit_calls(world, 10)
    month = this_month()
    following = period_containing(calendar_month("UTC"), month.end_at)
    at_its_end = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=month.end_at)
    async with world.flusher():
        assert (await world.use("u", "old", 10, limit=10))[1].startswith(b"+")
        assert (await world.use("u", "waits", 10, at_its_end, limit=10))[0] == b"wait"

        async def is_turned() -> bool:
            return (await world.view("u")).valid_until == following.end_at

        await wait_until_async(is_turned, 20, "the period to be turned")
        assert await used(world, "u") == 0
        assert (await world.use("u", "new", 9, at_its_end, limit=10))[1].startswith(b"+")
        assert (await world.use("u", "over", 2, at_its_end, limit=10))[1].startswith(b"!")
        await world.posted(2)
    assert await counters(world) == [(month.start_at, 10), (following.start_at, 9)]


async def test_what_is_voided_or_came_twice_does_not_count(world: World) -> None:
    """A void lowers the counter of the event's period; a repeat that Redis counted again heals where all is quiet."""
    await world.customer("u", 100)
    await limit_calls(world, 50)
    async with world.flusher():
        await world.use("u", "a", 4, limit=50)
        await world.use("u", "b", 5, limit=50)
        await world.posted(2)
        await world.forget("u", "a")
        assert (await world.use("u", "a", 4, limit=50))[0] == b"ok"
        await world.at_rest("u")
        assert await used(world, "u") == 9
        [row] = await world.ledger("SELECT id FROM usage_events WHERE units_micro = 5000000")
        order = VoidUsage(order_id=UUID(int=1), actor="test", event_id=row["id"])
        assert await world.redis.order(world.ref("u"), to_at(world.clock.now()), encode_order(order)) == "ok"

        async def is_lowered() -> bool:
            return await used(world, "u") == 4

        await wait_until_async(is_lowered, 20, "the void to be published")
    assert [units for _, units in await counters(world)] == [4]
    assert (await world.verify()).findings == []
