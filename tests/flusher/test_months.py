"""Events of several months on real stores: each stands in its own, and every one of them counts once."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from app.io.postgres import Database
from app.jobs.partitions import PartitionMaker
from tests.flusher.world import CREDIT, World

NEW_YEAR = datetime(2041, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
WITHOUT_KEY = """
    INSERT INTO usage_events
    SELECT environment_id, gen_random_uuid(), account_id, seq, feature_key, units_micro, cost_micro, debt_micro, draws,
           price_id, NULL, NULL, occurred_at, accepted_at, recorded_at
    FROM usage_events
"""
PLACES = "SELECT tableoid::regclass::text AS place, accepted_at FROM usage_events ORDER BY accepted_at"


async def owned(world: World, statement: str) -> list[asyncpg.Record]:
    """Rows as the owner sees them."""
    connection = await asyncpg.connect(world.urls["owner"])
    try:
        return await connection.fetch(statement)
    finally:
        await connection.close()


async def test_one_batch_crosses_into_months_that_nobody_made(world: World) -> None:
    """Jobs was down for years: the flusher makes what it needs, and the batch is posted whole."""
    await world.customer("late", 100)
    async with world.flusher():
        await world.use("late", "now", 1)
        await world.posted(1)
        await world.at_rest("late")
    for number, now in enumerate((NEW_YEAR - MICROSECOND, NEW_YEAR, NEW_YEAR + 70 * timedelta(days=1))):
        await world.use("late", f"then {number}", 1, now)
    async with world.flusher():
        await world.posted(4)
        assert (await world.at_rest("late")).available_micro == 96 * CREDIT
    kinds = [row["kind"] for row in await world.ledger("SELECT kind FROM ledger_transactions ORDER BY seq")]
    assert kinds == ["grant", "usage", "usage"]
    places = [(row["place"], row["accepted_at"]) for row in await owned(world, PLACES)][1:]
    assert [place for place, _ in places] == ["usage_events_204012", "usage_events_204101", "usage_events_204103"]
    assert places[0][1] == NEW_YEAR - MICROSECOND
    assert places[1][1] == NEW_YEAR
    assert (await world.ledger("SELECT count(*) AS n FROM rejected_events"))[0]["n"] == 0
    assert (await world.verify()).findings == []


async def test_an_event_that_comes_again_in_a_later_month_is_one_effect(world: World) -> None:
    """Its key outlives every window: alone, and in a batch with others that are new, in a month without partition."""
    await world.customer("again", 100)
    async with world.flusher():
        for number in range(3):
            now = NEW_YEAR + number * timedelta(days=31)
            await world.use("again", "the same", 5, now)
            await world.use("again", f"new {number}", 1, now)
            await world.posted(2 + number)
            at_rest = await world.at_rest("again")
            assert at_rest.available_micro == (100 - 5 - 1 - number) * CREDIT
            await world.forget("again", "the same")
        assert (await world.ledger("SELECT count(*) AS n FROM usage_event_keys"))[0]["n"] == 4
        assert (await world.verify()).findings == []


async def test_a_month_that_jobs_made_is_taken_as_it_is(world: World) -> None:
    """The flusher makes no other."""
    jobs = await Database.open(world.urls["quotastack_jobs"], "jobs", 1)
    await PartitionMaker(jobs, world.clock).round(NEW_YEAR)
    await jobs.close()
    before = await owned(world, "SELECT oid FROM pg_class WHERE relispartition ORDER BY oid")
    await world.customer("early", 100)
    async with world.flusher():
        await world.use("early", "one", 1, NEW_YEAR)
        await world.posted(1)
    assert await owned(world, "SELECT oid FROM pg_class WHERE relispartition ORDER BY oid") == before


@pytest.mark.parametrize(
    ("harm", "invariant"),
    [
        ("INSERT INTO usage_event_keys VALUES (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 1, now())", 62),
        (WITHOUT_KEY, 62),
        ("UPDATE usage_hours SET units_micro = units_micro + 1", 61),
        ("UPDATE usage_hours SET cost_micro = cost_micro + 1", 61),
        ("UPDATE usage_hours SET events = events + 1", 61),
        ("DELETE FROM usage_hours", 61),
        ("UPDATE usage_hours SET hour_at = hour_at + interval '1 hour'", 61),
    ],
)
async def test_verify_finds_what_is_wrong_with_usage(world: World, harm: str, invariant: int) -> None:
    """A key without its event, an event without its key, and every way in which an hour is not its events."""
    await world.customer("u", 100)
    async with world.flusher():
        await world.use("u", "one", 1)
        await world.posted(1)
        await world.at_rest("u")
    assert (await world.verify()).findings == []
    await owned(world, harm)
    assert invariant in {found.finding.invariant for found in (await world.verify()).findings}
