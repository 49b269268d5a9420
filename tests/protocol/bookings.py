"""What clients know of their reservations: whatever was answered is a promise."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from app.wire.events import StreamEntry
from app.wire.reservations import ReservationEnd, ReservationExtension, ReservationOpening

if TYPE_CHECKING:
    from tests.protocol.ledger_side import Ledger


@dataclass
class Booking:
    """One reservation. What was not acknowledged is not promised."""

    ref: bytes
    amount: int
    """Units, or micro-credits."""
    in_credits: bool
    is_opened: bool = False
    due: int = 0
    """It does not expire before."""
    ended: str | None = None
    """As which state."""
    used: int | None = None
    """What the commit cost."""
    late: int | None = None
    """What the commit cost that came after it had expired."""
    is_again: bool = False
    """Its key was used again after Redis had forgotten it: it is charged once, by whichever commit came first."""
    is_charged: bool = False
    """A commit was answered."""
    is_older_than_loss: bool = False
    """A memory that went back may say of it what it said before, until the ledger is asked."""


def forget_lost(bookings: Mapping[UUID, Booking], entries: Iterable[StreamEntry], ledger: "Ledger") -> None:
    """A store went back: what neither of them has any more is no promise."""
    opened, ended = {one.id for one in ledger.reservations.values()}, set[tuple[UUID, str]]()
    ended |= {(one.id, one.state.value) for one in ledger.reservations.values() if not one.is_open}
    charged, due = {*ledger.events}, {one.id: one.expires_at for one in ledger.reservations.values()}
    for entry in entries:
        match entry.reservation:
            case (
                ReservationOpening(reservation_id=key, expires_at=at)
                | ReservationExtension(reservation_id=key, expires_at=at)
            ):
                opened |= {key} if isinstance(entry.reservation, ReservationOpening) else set()
                due[key] = max(at, due.get(key, 0))
            case ReservationEnd(reservation_id=key, state=state):
                ended.add((key, state.value))
            case None if entry.payload is not None:
                charged.add(entry.payload.event_id)
            case _:
                pass
    for key, booking in bookings.items():
        booking.is_older_than_loss = True
        booking.is_opened &= key in opened
        booking.due = min(booking.due, due.get(key, 0))
        if booking.ended and (key, booking.ended) not in ended:
            booking.ended = booking.used = None
        if key not in charged:
            booking.late, booking.is_charged = None, False


def forget_overtaken(bookings: Mapping[UUID, Booking], truth: "Ledger") -> None:
    """While a memory that had gone back was still answering, it ended what had ended otherwise: the first end counts.

    `truth` is what the ledger comes to once it has posted what the memory holds.
    """
    for key, booking in bookings.items():
        known = truth.reservations.get(key)
        if known is None:
            continue
        booking.due = min(booking.due, known.expires_at)
        if known.is_open:
            continue
        if booking.ended not in {None, known.state.value}:
            booking.ended = booking.used = None
        if key in truth.events and truth.events[key].cost_micro != booking.used:
            booking.used = None
