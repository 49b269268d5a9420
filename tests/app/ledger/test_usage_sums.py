"""Usage answered from hours and from the events at both ends is the sum over the events, whatever is asked for."""

import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from app.flusher.batch import post_batch
from app.io.postgres import Database, Transaction, UniqueViolationError
from app.io.statements import statements
from app.ledger import reading, store
from app.ledger.book import PostedEvent, UsedInHour
from app.ledger.reading import UsageQuery, UsageSum, split_range
from app.rules.moments import HOUR_MICROSECONDS, hour_of, to_at, to_datetime
from app.wire.events import EntryKind, StreamEntry, UsagePayload
from tests.app.core import Tenant
from tests.app.ledger.test_reading import customer
from tests.conftest import DatabaseUrls
from tests.flusher.batch_subjects import make_account, ref_of
from tests.rules.laws import LAW

START = datetime(2026, 2, 27, 21, 17, 5, 123456, tzinfo=UTC)
FEATURES = ("f", "g")
HOURS = 80
RANGES = 250
moments = st.datetimes(timezones=st.just(UTC))


@LAW
@given(moments, moments)
def test_a_range_is_an_end_whole_hours_and_an_end(start_at: datetime, end_at: datetime) -> None:
    """The three parts follow each other; the middle is whole hours, and as many of them as there are."""
    first, end = split_range(start_at, end_at)
    hours = to_at(first) % HOUR_MICROSECONDS, to_at(end) % HOUR_MICROSECONDS
    if first == end:
        assert end == end_at
        whole = hour_of(to_at(start_at) + HOUR_MICROSECONDS - 1)
        assert end_at <= start_at or hour_of(to_at(end_at)) <= whole
    else:
        assert start_at <= first < end <= end_at
        assert hours == (0, 0)
        assert to_at(first) - to_at(start_at) < HOUR_MICROSECONDS
        assert to_at(end_at) - to_at(end) < HOUR_MICROSECONDS


@LAW
@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(FEATURES), st.integers(0, 9 * HOUR_MICROSECONDS))))
def test_a_batch_says_what_its_events_come_to(entries: list[tuple[str, str, int]]) -> None:
    """By account, feature and hour in which they happened, whatever transactions they became."""
    posting = post_batch(
        {ref_of(name): make_account(name, []) for name in "ab"},
        [
            StreamEntry(
                (1, number),
                ref_of(name),
                EntryKind.USAGE,
                at + number,
                1,
                number,
                UsagePayload(UUID(int=number + 1), feature, number + 1, UUID(int=1), at, None, None),
            )
            for number, (name, feature, at) in enumerate(entries)
        ],
        set(),
    )
    added: Counter[tuple[object, ...]] = Counter()
    summed: Counter[tuple[object, ...]] = Counter()
    for used in posting.used:
        hour = (used.account_id, used.feature_key, used.hour_at)
        added.update({(*hour, "units"): used.units_micro, (*hour, "cost"): used.cost_micro, (*hour, "n"): used.events})
    for event in posting.events:
        hour = (event.account_id, event.feature_key, hour_of(event.occurred_at))
        summed.update({(*hour, "units"): event.units_micro, (*hour, "cost"): event.cost_micro, (*hour, "n"): 1})
    assert added == summed
    assert len(posting.events) == len(entries)


def make_events(random: Random, environment_id: UUID, accounts: Iterable[UUID], count: int) -> list[PostedEvent]:
    """Events of HOURS hours, many of them on the very ends of hours, some with the greatest amounts that there are."""
    choices = list(accounts)
    events = []
    for number in range(count):
        occurred_at = to_at(START) + random.randint(0, HOURS * HOUR_MICROSECONDS)
        if random.random() < 0.4:
            occurred_at = hour_of(occurred_at) + random.choice([-1, 0, 1])
        amount = random.choice([10**15, random.randint(1, 10**9)])
        owner = (environment_id, random.choice(choices), number + 1, uuid4())
        texts = ("[]", uuid4(), None, None)
        accepted_at = occurred_at + random.randint(0, 30) * HOUR_MICROSECONDS
        events.append(
            PostedEvent(*owner, random.choice(FEATURES), amount, amount // 3, 0, *texts, occurred_at, accepted_at)
        )
    return events


async def post(tx: Transaction, events: list[PostedEvent]) -> None:
    """Events with their hours, as the flusher posts them."""
    moments = [to_datetime(event.accepted_at) for event in events]
    await store.make_usage_partitions(tx, moments)
    await store.insert_events(tx, events, START)
    amounts = [(e.feature_key, hour_of(e.occurred_at), e.units_micro, e.cost_micro, 1) for e in events]
    owners = [(event.environment_id, event.account_id) for event in events]
    await store.add_usage(tx, [UsedInHour(*o, *a) for o, a in zip(owners, amounts, strict=True)])


def bucket_of(query: UsageQuery, at: int) -> datetime:
    """Where the bucket of a moment begins."""
    moment = to_datetime(at)
    if query.bucket == "total":
        return query.start_at
    return moment.replace(hour=moment.hour if query.bucket == "hour" else 0, minute=0, second=0, microsecond=0)


def sum_directly(query: UsageQuery, events: list[PostedEvent], names: dict[UUID, str]) -> list[UsageSum]:
    """What the answer has to be."""
    sums: dict[tuple[datetime, str, str], list[int]] = {}
    for event in events:
        name = names[event.account_id]
        if query.end_user_id not in (None, name) or query.feature_key not in (None, event.feature_key):
            continue
        if to_at(query.start_at) <= event.occurred_at < to_at(query.end_at):
            found = sums.setdefault((bucket_of(query, event.occurred_at), name, event.feature_key), [0, 0, 0])
            for place, amount in enumerate((event.units_micro, event.cost_micro, 1)):
                found[place] += amount
    return [UsageSum(*key, Decimal(u), Decimal(c), n) for key, (u, c, n) in sorted(sums.items())]


def make_query(random: Random) -> UsageQuery:
    """A range that may begin and end anywhere, on an hour, in one hour, or backwards."""
    ends = [to_at(START) + random.randint(-3, HOURS - 10) * HOUR_MICROSECONDS]
    ends.append(ends[0] + random.choice([random.randint(-5, 90) * HOUR_MICROSECONDS, random.randint(-10, 10**11)]))
    start_at, end_at = (random.choice([hour_of(at), at, hour_of(at) + 1, hour_of(at) - 1]) for at in ends)
    return UsageQuery(
        random.choice([None, None, None, "u", "v", "v", "nobody"]),
        random.choice([None, None, *FEATURES, *FEATURES, "none"]),
        to_datetime(start_at),
        to_datetime(end_at),
        random.choice(["hour", "day", "total"]),
    )


async def test_sums_are_those_of_the_events(tenant: Tenant, urls: DatabaseUrls) -> None:
    """Random events in several batches, months and environments, random ranges, buckets and filters, page by page."""
    random = Random(7)
    names = {await customer(tenant, name): name for name in ("u", "v")}
    events = make_events(random, tenant.environment_id, names, 600)
    elsewhere = make_events(random, uuid4(), names, 50)
    flusher = await Database.open(urls.of("quotastack_flusher"), "test", 1)
    for start in range(0, len(events), 100):
        await flusher.run(
            None, lambda tx, start=start: post(tx, events[start : start + 100] + elsewhere[start // 12 :][:8])
        )
    core = await Database.open(urls.of("quotastack_core"), "test", 1)
    empty = 0
    for _ in range(RANGES):
        query, limit = make_query(random), random.choice([3, 1000])
        expected = sum_directly(query, events, names)
        found: list[UsageSum] = []
        after = None
        while page := await core.run(
            tenant.environment_id, lambda tx, q=query, a=after, n=limit: reading.sum_usage(tx, q, a, n)
        ):
            found += page
            after = (page[-1].start_at, page[-1].end_user_id, page[-1].feature_key)
        assert found == expected, query
        empty += not found
    assert 0 < empty < RANGES // 2
    await core.close()
    await flusher.close()


async def test_one_customers_events_are_found_by_their_account(tenant: Tenant, urls: DatabaseUrls) -> None:
    """A part of an hour costs what that customer used in it, however many events others have there."""
    names = {await customer(tenant, name): name for name in ("u", "v")}
    [few, many] = names
    random = Random(3)
    events = make_events(random, tenant.environment_id, [few], 3) + make_events(
        random, tenant.environment_id, [many], 2000
    )
    at = to_at(START) + HOUR_MICROSECONDS // 2
    events = [structs.replace(event, occurred_at=at, accepted_at=at) for event in events]
    owner = await asyncpg.connect(urls.owner)
    flusher = await Database.open(urls.of("quotastack_flusher"), "test", 1)
    await flusher.run(None, lambda tx: post(tx, events))
    await owner.execute("ANALYZE usage_events")
    hour = to_datetime(hour_of(at))
    asked = (hour + timedelta(minutes=1), *split_range(hour + timedelta(minutes=1), hour + timedelta(minutes=59)))
    arguments = (tenant.environment_id, "u", None, *asked, hour + timedelta(minutes=59), "total", None, None, None, 10)
    rows = await owner.fetch("EXPLAIN (ANALYZE) " + statements("app.ledger")["sum_usage"], *arguments)
    await owner.close()
    await flusher.close()
    read = [
        float(found) for row in rows for found in re.findall(r" on usage_events_\d+ .*actual.*rows=([\d.]+)", row[0])
    ]
    assert read, rows
    assert sum(read) == 3, rows


async def test_what_is_taken_back_is_no_usage(tenant: Tenant, urls: DatabaseUrls) -> None:
    """Signed amounts add up, also where one call names an hour twice."""
    account_id = await customer(tenant)
    hour = (tenant.environment_id, account_id, "f", hour_of(to_at(START)))
    flusher = await Database.open(urls.of("quotastack_flusher"), "test", 1)
    for amounts in ((10**15, 10**15, 1), (-4, -3, 0), (4, 3, 0), (-(10**15) + 2, -(10**15) + 1, 0)):
        await flusher.run(None, lambda tx, a=amounts: store.add_usage(tx, [UsedInHour(*hour, *a)] * 2))
    statement = "SELECT units_micro, cost_micro, events FROM usage_hours"
    assert [tuple(row) for row in await flusher.run(None, lambda tx: tx.connection.fetch(statement))] == [(4, 2, 2)]
    await flusher.close()


async def test_an_event_is_posted_once_whatever_its_month(tenant: Tenant, urls: DatabaseUrls) -> None:
    """The same id in another month is refused by its key."""
    account_id = await customer(tenant)
    [event] = make_events(Random(1), tenant.environment_id, [account_id], 1)
    flusher = await Database.open(urls.of("quotastack_flusher"), "test", 1)
    await flusher.run(None, lambda tx: post(tx, [event]))
    later = structs.replace(event, accepted_at=to_at(START + timedelta(days=90)))
    with pytest.raises(UniqueViolationError):
        await flusher.run(None, lambda tx: post(tx, [later]))
    asked = [(event.environment_id, event.id), (event.environment_id, uuid4())]
    assert await flusher.run(None, lambda tx: store.find_posted_events(tx, asked)) == {asked[0]}
    await flusher.close()
