"""Reservations that nobody meets: the sweep ends what is past due, all of it, and nothing else."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from app.io.clock import Clock
from app.io.redis import LoadBegun
from app.io.reservations import put_ended_reservation
from app.jobs.sweep import PAGE, SWEEP_SECONDS, Sweeper
from app.rules.moments import NEVER_AT, to_at
from app.rules.pricing import PerUnitPrice
from app.wire import keys, scripts
from app.wire.events import StreamEntry, parse_entry
from app.wire.held import EXPIRY_LAG_SECONDS, EndedReservation, Ending, Facts, OpenReservation, Place, encode_facts
from app.wire.ids import derived_id, in_partition
from app.wire.reservations import ReservationEnd, ReservationOpening, ReservationState, encode_change
from app.wire.snapshot import AccountState
from tests.flusher.world import CREDIT, World

if TYPE_CHECKING:
    from uuid import UUID

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
MINUTE = 60 * CREDIT


class FixedClock(Clock):
    """Stands where a test puts it."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        """Where it stands."""
        return self.at


def facts(world: World) -> Facts:
    """Five calls."""
    return Facts("calls", in_credits=False, units_micro=5 * CREDIT, price_id=world.price_id, price=PerUnitPrice(CREDIT))


def place(world: World, end_user_id: str, key: str) -> tuple["UUID", Place]:
    """A reservation of the customer: its id and where it is."""
    ref = world.ref(end_user_id)
    partition = world.redis.partition(ref)
    reservation_id = in_partition(derived_id(ref, key.encode()), partition)
    return reservation_id, Place(partition, ref, keys.due_member(ref[: keys.ENVIRONMENT_REF_LENGTH], reservation_id))


async def reserve(world: World, end_user_id: str, key: str, lasts: int = MINUTE) -> Place:
    """Open a reservation of five calls at NOW, as an edge does."""
    reservation_id, where = place(world, end_user_id, key)
    snapshot_id = (await world.view(end_user_id)).snapshot_id
    opening = ReservationOpening(
        reservation_id=reservation_id,
        feature_key="calls",
        units_micro=5 * CREDIT,
        in_credits=False,
        price_id=world.price_id,
    )
    head = (to_at(NOW), snapshot_id, 5 * CREDIT, lasts, "", b"f", where.ref, encode_change(opening))
    tail = (10**8, 10**6, "", "", "", "", "", encode_facts(facts(world)), 10_000, 100)
    answer = await world.redis.run(scripts.RESERVE, where.script_keys, [*head, *tail])
    assert answer[0] == b"ok", answer
    return where


async def load(world: World, *end_user_ids: str) -> None:
    """Loaded customers with 10,000 credits each, whose clocks stand before NOW. Afterwards nobody flushes."""
    async with world.flusher():
        for end_user_id in end_user_ids:
            await world.customer(end_user_id, 10_000)
            await world.view(end_user_id)
    for ref in map(world.ref, end_user_ids):
        await world.redis.client.hset(keys.account(world.redis.partition(ref), ref), "last_at", 0)


async def sweep(world: World, at: datetime) -> int:
    """One round at a moment."""
    return await Sweeper(world.core, world.redis, FixedClock(at)).round(asyncio.Event())


async def state(world: World, where: Place) -> bytes:
    """Of a reservation in Redis."""
    return await world.redis.client.hget(where.key, "state")


async def test_what_is_past_due_ends(world: World) -> None:
    """33: at its due time and not a microsecond earlier; the credit is back, and the entry is a readable expiry."""
    await load(world, "one")
    where = await reserve(world, "one", "k")
    due = NOW + timedelta(minutes=1)
    assert (await world.view("one")).reserved_micro == 5 * CREDIT
    assert await sweep(world, due - timedelta(microseconds=1)) == 0
    assert await state(world, where) == b"open"
    assert await sweep(world, due) == 1
    assert await sweep(world, due) == 0
    assert await state(world, where) == b"expired"
    view = await world.view("one")
    assert (view.available_micro, view.reserved_micro) == (10_000 * CREDIT, 0)
    entry = parse_entry(*(await world.redis.client.xrange(where.script_keys[1]))[-1])
    assert isinstance(entry, StreamEntry)
    assert isinstance(entry.reservation, ReservationEnd)
    assert (entry.reservation.state, entry.accepted_at) == (ReservationState.EXPIRED, to_at(due))
    assert await world.redis.client.zcard(keys.due(where.partition)) == 0


async def test_more_than_a_page_of_many_customers(world: World) -> None:
    """All partitions, and as many pages as there are; what is not due stays."""
    await load(world, *(f"user_{number}" for number in range(8)))
    many = [await reserve(world, "user_0", f"k{number}") for number in range(PAGE + 1)]
    others = [await reserve(world, f"user_{number}", "k") for number in range(1, 8)]
    later = await reserve(world, "user_0", "later", 2 * MINUTE)
    assert await sweep(world, NOW + timedelta(seconds=61)) == len(many) + len(others)
    assert await state(world, later) == b"open"


async def test_an_account_that_cannot_be_loaded_has_its_turn_later(world: World) -> None:
    """Its entries are not posted yet, so the load is busy; others are swept all the same."""
    await load(world, "away", "here")
    away, here = await reserve(world, "away", "k"), await reserve(world, "here", "k")
    await world.redis.client.delete(away.script_keys[0])
    assert await sweep(world, NOW + timedelta(minutes=1)) == 1
    assert (await state(world, away), await state(world, here)) == (b"open", b"expired")
    assert await world.redis.client.zcard(keys.due(away.partition)) == 1


async def test_a_reservation_of_nobody_is_forgotten(world: World) -> None:
    """An account that the ledger does not know and a reservation that Redis has forgotten do not hold up the sweep."""
    await load(world, "somebody")
    _, nobody = place(world, "nobody", "k")
    _, gone = place(world, "gone", "k")
    fields = {"state": "open", "ref": nobody.ref, "facts": encode_facts(facts(world)), "reserved": 5, "due": 1}
    await world.redis.client.hset(nobody.key, mapping=fields)
    for where in (nobody, gone):
        await world.redis.client.zadd(keys.due(where.partition), {where.member: 1})
    assert await sweep(world, NOW) == 0
    for where in (nobody, gone):
        assert await world.redis.client.zcard(keys.due(where.partition)) == 0


async def test_a_load_brings_open_reservations(world: World) -> None:
    """What they reserve is shown, and what comes back at their end is the ledger's to say."""
    await load(world, "one")
    reservation_id, where = place(world, "one", "k")
    before = await world.view("one")
    await world.redis.client.delete(where.script_keys[0])
    begun = await world.redis.begin_load(where.ref, b"token")
    assert isinstance(begun, LoadBegun)
    figures = AccountState(where.ref, 9, before.base_micro, 0, NEVER_AT, 0, before.snapshot_id, "none")
    held = OpenReservation(reservation_id, facts(world), 5 * CREDIT, to_at(NOW) + MINUTE, None)
    assert await world.redis.finish_load(begun, figures, [held]) == "loaded"
    loaded = await world.view("one")
    assert (loaded.reserved_micro, loaded.available_micro) == (5 * CREDIT, before.available_micro)
    assert await sweep(world, NOW + timedelta(minutes=1)) == 1
    entry = parse_entry(*(await world.redis.client.xrange(where.script_keys[1]))[-1])
    assert (entry.ref, entry.cost_micro) == (where.ref, 0)


async def test_an_ended_reservation_is_put_back_once(world: World) -> None:
    """For a while, and never over one that is there."""
    reservation_id, where = place(world, "one", "k")
    ending = Ending(ReservationState.COMMITTED, 4 * CREDIT, 4 * CREDIT)
    known = (5 * CREDIT, to_at(NOW), ending, None, 90 * CREDIT, None)
    ended = EndedReservation(reservation_id, where.ref, facts(world), *known)
    assert await put_ended_reservation(world.redis, ended, 60) == "restored"
    assert await put_ended_reservation(world.redis, ended, 60) == "present"
    key = where.key
    assert 0 < await world.redis.client.ttl(key) <= 60
    assert await world.redis.client.hget(key, "ended") == b"4000000:1000000:90000000:0"


def test_the_promise_has_room_for_some_rounds() -> None:
    """A round that fails is tried again within the lag that is promised."""
    assert EXPIRY_LAG_SECONDS >= 3 * SWEEP_SECONDS
