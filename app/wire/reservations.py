"""What becomes of reservations, as it stands in the stream.

An entry's cost is signed: an opening costs what it reserves, an end what was really used less what was reserved, or
nothing where the ledger has to say what comes back (docs/credit-protocol.md, "Reservations").
"""

from enum import StrEnum
from uuid import UUID

import msgspec

from app.rules.credits import MAX_COST_MICRO, MAX_UNITS_MICRO
from app.rules.moments import NEVER_AT


class ReservationState(StrEnum):
    """Where a reservation is; all but `open` are for ever."""

    OPEN = "open"
    COMMITTED = "committed"
    RELEASED = "released"
    EXPIRED = "expired"


class ReservationBase(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """What every change says: which reservation, and of which feature."""

    reservation_id: UUID
    feature_key: str


class ReservationOpening(ReservationBase, frozen=True, tag="opening", kw_only=True):
    """Credit is set aside; the entry's cost is how much."""

    units_micro: int
    """What it was priced for; 0 where credits were reserved, which count no units."""
    in_credits: bool
    price_id: UUID
    """Pinned: the commit is priced with it."""
    idempotency_key: str | None = None
    properties: str | None = None
    """The text of the JSON object as it was sent."""
    expires_at: int = 0
    """From the entry's `d`, since the script dates it."""


class ReservationExtension(ReservationBase, frozen=True, tag="extension", kw_only=True):
    """It falls due later; costs nothing."""

    expires_at: int = 0
    """From the entry's `d`."""


class ReservationEnd(ReservationBase, frozen=True, tag="end", kw_only=True):
    """It is committed, released or expired: the first end is the only one."""

    state: ReservationState
    units_micro: int = 0
    """Really used; 0 where credits were reserved, and where it was not committed."""
    price_id: UUID | None = None
    """Of a commit: for an event whose opening the ledger never saw."""
    used_micro: int = 0
    """From the entry's `u`: what was used cost; 0 where it was not committed."""


ReservationChange = ReservationOpening | ReservationExtension | ReservationEnd

_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")
_decoder = msgspec.msgpack.Decoder(ReservationChange)


def encode_change(change: ReservationChange) -> bytes:
    """The change as it goes into the stream; what the script decides is not in it yet."""
    return _encoder.encode(change)


def decode_change(content: bytes, due_at: int, used_micro: int) -> ReservationChange:
    """The change behind what stands in the stream, with what the script decided (0 where it decided nothing).

    Raises msgspec.MsgspecError, or ValueError for what fits no table.
    """
    change: ReservationChange = _decoder.decode(content)
    match change:
        case ReservationOpening():
            if "\0" in f"{change.feature_key}{change.idempotency_key}{change.properties}":
                raise ValueError("a text holds a zero byte")
            _check(change.units_micro, due_at, 0)
            return msgspec.structs.replace(change, expires_at=due_at)
        case ReservationExtension():
            _check(0, due_at, 0)
            return msgspec.structs.replace(change, expires_at=due_at)
        case ReservationEnd():
            _check(change.units_micro, 0, used_micro)
            if change.state is ReservationState.OPEN or (change.price_id is None) is _is_commit(change):
                raise ValueError("an end says how it ended, and a commit at which price")
            return msgspec.structs.replace(change, used_micro=used_micro)


def _is_commit(end: ReservationEnd) -> bool:
    return end.state is ReservationState.COMMITTED


def _check(units_micro: int, due_at: int, used_micro: int) -> None:
    """What the ledger's tables would refuse must not reach them: one poisoned entry would hold up its partition."""
    if not (0 <= units_micro <= MAX_UNITS_MICRO and 0 <= due_at <= NEVER_AT and 0 <= used_micro <= MAX_COST_MICRO):
        raise ValueError("units, due time or use are out of bounds")
