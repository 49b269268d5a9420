"""What must hold at every step: each entry is looked at as it is appended.

Checked while nothing was lost, and again from the moment at which a new incarnation has begun: no decision spends more
than is there, where that is the ledger after every entry of the stream; what is enforced leaves no debt, and stays
within the limit of the period that it is accepted in; a reservation ends once; accepted - applied is what the stream
still holds.
"""

from typing import TYPE_CHECKING

from app.rules import totals
from app.wire.events import StreamEntry, UnreadableEntry
from app.wire.reservations import ReservationEnd, ReservationOpening, ReservationState
from tests.protocol.ledger_side import BEGUN_AT, TURN_AT, Entry, Ledger
from tests.protocol.violation import check
from tests.protocol.world import FEATURE, LIMIT, World, name_of
from tests.wire.script_models import StreamId

if TYPE_CHECKING:
    from uuid import UUID

DAMAGED = 0.02
"""How often, where there are faults, an entry is unreadable."""


def watch(world: World, before: StreamId, *, enforce: bool = False) -> bool:
    """A script ran; whether it appended anything after `before`. The ledger without lag has that at once."""
    entries = world.server.read(before)
    for entry in entries:
        damaged = _damage(world, entry) if world.faults and world.random.random() < DAMAGED else None
        _appended(world, damaged or entry, enforce=enforce)
    return bool(entries)


def _appended(world: World, entry: Entry, *, enforce: bool) -> None:
    if isinstance(entry, StreamEntry):
        if entry.payload is not None:
            world.appeared.add(entry.payload.event_id)
        _check_terms(world, entry)
    if isinstance(entry, UnreadableEntry) or not world.whole:
        world.reference.post([entry])
        return
    ref, reference = entry.ref, world.reference
    is_opening = isinstance(entry.reservation, ReservationOpening)
    is_decision = is_opening or (enforce and entry.payload is not None)
    if is_decision:
        really = reference.spendable(ref, entry.accepted_at)
        check(entry.cost_micro <= really, "overspend", name_of(ref), entry.cost_micro, really)
    if is_decision and entry.period_at is not None:
        used = reference.counted(ref, FEATURE, entry.period_at) + _units_of(entry)
        check(used <= LIMIT, "beyond the limit", name_of(ref), used)
    known = len(reference.events), len(reference.reservations)
    reference.post([entry])
    if is_decision and known != (len(reference.events), len(reference.reservations)):
        debt = _debt_of(reference, entry)
        check(debt == 0, "what is enforced leaves a debt", name_of(ref), debt)
    if isinstance(entry.reservation, ReservationOpening):
        world.ended.discard(entry.reservation.reservation_id)
    _check_end(world, entry)
    if entry.rejection is None:
        _check_pending(world, ref)


def _units_of(entry: StreamEntry) -> int:
    """What a decision counts."""
    if entry.payload is not None:
        return entry.payload.units_micro
    return entry.reservation.units_micro if isinstance(entry.reservation, ReservationOpening) else 0


def _debt_of(reference: Ledger, entry: StreamEntry) -> int:
    if entry.payload is not None:
        return reference.events[entry.payload.event_id].debt_micro
    assert entry.reservation is not None
    return reference.reservations[entry.reservation.reservation_id].debt_micro


def _check_terms(world: World, entry: StreamEntry) -> None:
    """Priced by the plan and the price of its moment, counted in the period of its moment."""
    at, snapshot, payload = entry.accepted_at, world.server.memory.accounts.get(entry.ref), entry.payload
    if payload is not None and payload.event_id not in world.bookings and snapshot is not None:
        price = world.price(snapshot.snapshot, at)
        check(entry.cost_micro == payload.units_micro * price, "price of another moment", entry, price)
        started_at = TURN_AT if at >= TURN_AT else BEGUN_AT
        counted_at = started_at if payload.feature_key == FEATURE else None
        check(entry.period_at == counted_at, "counted in another period", entry, counted_at)
    if isinstance(entry.reservation, ReservationOpening) and snapshot is not None and not entry.reservation.in_credits:
        price = world.price(snapshot.snapshot, at)
        check(entry.cost_micro == entry.reservation.units_micro * price, "price of another moment", entry, price)


def _check_end(world: World, entry: StreamEntry) -> None:
    """The first end is the only one, and none expires before it is due."""
    end = entry.reservation
    if not isinstance(end, ReservationEnd):
        return
    key: UUID = end.reservation_id
    check(key not in world.ended, "ended twice", key.hex[-4:])
    world.ended.add(key)
    due, is_expiry = world.bookings[key].due, end.state is ReservationState.EXPIRED
    check(not is_expiry or entry.accepted_at >= due, "expired early", key.hex[-4:], due)
    known = world.reference.reservations.get(key)
    is_late = known is not None and not is_expiry and entry.accepted_at >= known.expires_at
    check(not is_late, "ended in time after it was due", key.hex[-4:])


def _check_pending(world: World, ref: bytes) -> None:
    """Invariant 34, where the edge has the ledger's newest figures."""
    account, cursor = world.server.memory.accounts[ref], world.ledger.cursor
    is_newest = account.revision == world.ledger.accounts[ref].revision
    if not is_newest or ref in world.cost_lost or not cursor or world.server.incarnation != cursor.incarnation:
        return
    waiting = sum(entry.cost_micro for entry in world.server.read(cursor.last_id) if entry.ref == ref)
    pending = totals.distance(account.accepted, account.applied)
    check(pending == waiting, "accepted is not what waits", name_of(ref), pending, waiting)


def _damage(world: World, entry: Entry) -> Entry | None:
    """By some defect the newest entry is unreadable; the ledger rejects it, and everything goes on.

    Not one about a reservation: of that the ledger and Redis would know different things ever after.
    """
    stream = world.server.memory.stream
    if isinstance(entry, UnreadableEntry) or entry.reservation is not None or stream[-1][0] != entry.stream_id:
        return None
    event_id = None if entry.payload is None else entry.payload.event_id
    if event_id in world.bookings or entry.rejection is not None:
        return None
    stream_id, fields = stream.pop()
    loses_cost = world.random.random() < 0.5
    stream.append((stream_id, {**fields, b"k": b"?", b"c": b"?" if loses_cost else fields[b"c"]}))
    world.say(f"damage {stream_id} {loses_cost=}")
    if event_id is not None:
        world.damaged.add(event_id)
        world.appeared.add(event_id)
        world.acknowledged.discard(event_id)
    world.taken_orders &= world.orders_in_stream() | world.ledger.outcomes.keys()
    if loses_cost:
        world.cost_lost.add(entry.ref)
    return world.server.newest_entry()
