"""Reservations, as edges and jobs drive them: whatever a script answers, they do what the product does then.

What Redis holds of a reservation for its commit is here `in credits:units:price per unit`.
"""

from typing import TYPE_CHECKING
from uuid import UUID

from app.rules.moments import NEVER_AT
from app.wire.events import UsagePayload, encode_usage
from app.wire.keys import reservation_id_of
from app.wire.reservations import (
    ReservationEnd,
    ReservationExtension,
    ReservationOpening,
    ReservationState,
    encode_change,
)
from tests.protocol.bookings import Booking
from tests.protocol.ledger_side import facts_of
from tests.protocol.processes import Steps, load
from tests.protocol.violation import check
from tests.protocol.watching import watch
from tests.protocol.world import FEATURE, LIMIT, World, name_of
from tests.wire.reservation_models import End, Extend, Reserve
from tests.wire.script_models import Held

if TYPE_CHECKING:
    from app.ledger.book import Reservation

ATTEMPTS = 4
"""How often an opening is asked again after what was past due has been expired."""
MOST_NAMED = 2
UNANSWERED = 0.1
"""How often a client is not answered, and knows nothing."""


def reserve(world: World, key: UUID, lasts: int) -> bytes:
    """Open one, or ask for it again."""
    booking, was_known = world.bookings[key], _is_known(world, key)
    ref, asked_at, before = booking.ref, world.clock(), world.server.memory.newest_id
    answer, now_at = [b"due"], asked_at
    for _ in range(ATTEMPTS):
        answer = world.server.reserve(_opening(world, key, now_at, lasts))
        world.say(f"reserve {name_of(ref)} {key.hex[-4:]} {booking.amount} at {now_at} -> {answer}")
        watch(world, before)
        match answer:
            case [b"snapshot", snapshot]:
                world.believed[ref] = snapshot.decode()
            case [b"reprice", at]:
                now_at = int(at)
            case [b"due", *members]:
                for member in members:
                    end(world, reservation_id_of(member), "expired", at=asked_at)
            case _:
                break
        before = world.server.memory.newest_id
    if answer[0] == b"ok" and answer[-1][:1] == b"+" and was_known:
        booking.is_again, booking.due = True, 0
    if answer[0] in {b"ok", b"seen"}:
        _answered(world, key, answer, asked_at)
    return answer[0]


def _is_known(world: World, key: UUID) -> bool:
    """Whether the key was used before, as far as anybody knows."""
    return any(key in side.reservations or key in side.events for side in (world.ledger, world.reference))


def _answered(world: World, key: UUID, answer: list[bytes], asked_at: int) -> None:
    booking, outcome = world.bookings[key], answer[-1]
    if outcome[:1] in b"-!":
        past = [due for due in world.server.memory.due.values() if due <= asked_at] if answer[0] == b"ok" else []
        check(not past, "refused for what is past due", key.hex[-4:], past)
    elif world.random.random() >= UNANSWERED:
        booking.is_opened = True
        if answer[0] == b"ok":
            booking.due = int(outcome.split(b":")[2])


def _opening(world: World, key: UUID, now_at: int, lasts: int) -> Reserve:
    booking = world.bookings[key]
    snapshot = world.believed[booking.ref]
    price = 1 if booking.in_credits else world.price(snapshot, now_at)
    units = 0 if booking.in_credits else booking.amount
    change = ReservationOpening(
        reservation_id=key,
        feature_key=FEATURE,
        units_micro=units,
        in_credits=booking.in_credits,
        price_id=UUID(int=price),
    )
    is_pinned = booking.in_credits or "reprice" in world.without
    return Reserve(
        *(booking.ref, key, now_at, snapshot, booking.amount * price, lasts, encode_change(change)),
        facts=b"%d:%d:%d" % (booking.in_credits, units, price),
        most_named=MOST_NAMED,
        units_micro=units,
        counted=not booking.in_credits,
        limit=None if booking.in_credits else LIMIT,
        until_at=NEVER_AT if is_pinned or now_at >= world.dearer_at else world.dearer_at,
    )


def end(world: World, key: UUID, verb: str, amount: int = 0, *, at: int | None = None) -> bytes:
    """Commit an amount, release, or expire."""
    held, row = world.server.memory.reservations.get(key), world.ledger.reservations.get(key)
    facts = held.facts if held is not None and held.facts is not None else None if row is None else facts_of(row)
    if facts is None:
        world.server.memory.due.pop(key, None)
        return b"unknown"
    booking, before = world.bookings[key], world.server.memory.newest_id
    in_credits, _, price = map(int, facts.split(b":"))
    units, now_at = 0 if in_credits else amount, world.clock() if at is None else at
    call = End(
        *(booking.ref, key, now_at, verb, amount * price, str(amount) if verb == "committed" else ""),
        payload=_end(key, verb, units, price),
        expiry=_end(key, "expired", 0, price),
        late=encode_usage(UsagePayload(key, FEATURE, units, UUID(int=price), None, None, None)),
        units_micro=None if in_credits else units,
    )
    answer = world.server.end(call)
    world.say(f"{verb} {name_of(booking.ref)} {key.hex[-4:]} {amount} at {now_at} -> {answer}")
    watch(world, before)
    if answer[0] in {b"ok", b"again"}:
        is_stale = answer[0] == b"again" and booking.is_older_than_loss
        if verb != "expired" and not is_stale and world.random.random() >= UNANSWERED:
            _ended(booking, verb, answer[1])
    elif answer[0] == b"ended":
        is_first = booking.ended in {None, answer[1].decode()} or booking.is_older_than_loss or booking.is_again
        check(is_first, "another end came first", key.hex[-4:], booking.ended, answer[1])
    return answer[0]


def _ended(booking: Booking, verb: str, outcome: bytes) -> None:
    """What was answered before is answered again. What is late for nothing is no promise."""
    used, _, _, late = map(int, outcome.split(b":"))
    booking.is_charged |= bool(late) or verb == "committed"
    if booking.is_again:
        return
    if late:
        check(booking.is_older_than_loss or booking.late in {None, used}, "another commit came first", booking, used)
        booking.late = used or None
        return
    is_first = booking.ended in {None, verb} and booking.used in {None, used}
    check(booking.is_older_than_loss or is_first, "another end came first", booking, verb, used)
    booking.ended, booking.used = verb, used


def _end(key: UUID, verb: str, units: int, price: int) -> bytes:
    is_commit = verb == "committed"
    end = ReservationEnd(
        reservation_id=key,
        feature_key=FEATURE,
        state=ReservationState(verb),
        units_micro=units if is_commit else 0,
        price_id=UUID(int=price) if is_commit else None,
    )
    return encode_change(end)


def extend(world: World, key: UUID, lasts: int) -> bytes:
    """Have one fall due later."""
    booking, before = world.bookings[key], world.server.memory.newest_id
    change = encode_change(ReservationExtension(reservation_id=key, feature_key=FEATURE))
    answer = world.server.extend(Extend(booking.ref, key, world.clock(), lasts, change))
    world.say(f"extend {name_of(booking.ref)} {key.hex[-4:]} by {lasts} -> {answer}")
    watch(world, before)
    match answer:
        case [b"ok", due]:
            booking.due = max(booking.due, int(due))
        case [b"due"]:
            end(world, key, "expired")
        case _:
            pass
    return answer[0]


def list_due(world: World) -> list[UUID]:
    """What the sweep of jobs finds."""
    at = world.clock()
    return [key for key, due in world.server.memory.due.items() if due <= at]


def put_back(world: World, key: UUID) -> Steps:
    """Core brings a reservation into Redis which that does not have: an open one with its account."""
    row = world.ledger.reservations.get(key)
    yield
    if row is None:
        return
    if row.is_open:
        yield from load(world, world.bookings[key].ref)
    else:
        world.server.restore(key, _held(world, row))


def _held(world: World, row: "Reservation") -> Held:
    is_expired, event = row.state is ReservationState.EXPIRED, world.ledger.events.get(row.id)
    is_charged = row.state is ReservationState.RELEASED and event is not None
    state = ReservationState.COMMITTED if is_charged else row.state
    cost = 0 if event is None else event.cost_micro
    amount = 0 if event is None else cost if row.in_credits else event.units_micro
    held = Held(state.value, world.bookings[row.id].ref, facts_of(row), reserved=row.reserved_micro)
    held.due, held.period = row.expires_at, row.period_at
    held.units = None if row.period_at is None else row.units_micro
    held.ended_asked = "" if event is None or is_expired else str(amount)
    used = 0 if is_expired else cost
    held.ended = f"{used}:{max(0, row.reserved_micro - used)}:0:0"
    if is_expired and event is not None:
        held.late_asked, held.late = str(amount), f"{cost}:0:0:1"
    return held
