"""What becomes of reservations crosses the stream unharmed, and what no table would take does not get in."""

from typing import Any
from uuid import UUID

import msgspec
import pytest

from app.rules.credits import MAX_COST_MICRO, MAX_UNITS_MICRO
from app.rules.moments import NEVER_AT
from app.wire.events import StreamEntry, UnreadableEntry, UsagePayload, encode_usage, parse_entry
from app.wire.reservations import (
    ReservationChange,
    ReservationEnd,
    ReservationExtension,
    ReservationOpening,
    ReservationState,
    encode_change,
)

OF: dict[str, Any] = {"reservation_id": UUID(int=7), "feature_key": "tokens"}
OPENING = ReservationOpening(**OF, units_micro=5, in_credits=False, price_id=UUID(int=2), idempotency_key="k")
EXTENSION = ReservationExtension(**OF)
COMMIT = ReservationEnd(**OF, state=ReservationState.COMMITTED, units_micro=3, price_id=UUID(int=2))
RELEASE = ReservationEnd(**OF, state=ReservationState.RELEASED)


def parsed(change: ReservationChange, cost: int = 0, **fields: bytes) -> StreamEntry | UnreadableEntry:
    """The entry that a script leaves."""
    head = {b"a": b"ref", b"k": b"r", b"t": b"7", b"r": b"3", b"c": b"%d" % cost, b"p": encode_change(change)}
    return parse_entry(b"1-1", head | {name.encode(): value for name, value in fields.items()})


@pytest.mark.parametrize(
    ("change", "cost", "fields", "expected"),
    [
        (OPENING, 9, {"d": b"50"}, msgspec.structs.replace(OPENING, expires_at=50)),
        (OPENING, 9, {"d": b"50", "s": b"6"}, msgspec.structs.replace(OPENING, expires_at=50)),
        (EXTENSION, 0, {"d": b"60"}, msgspec.structs.replace(EXTENSION, expires_at=60)),
        (COMMIT, -4, {"u": b"5"}, msgspec.structs.replace(COMMIT, used_micro=5)),
        (COMMIT, 4, {"u": b"13"}, msgspec.structs.replace(COMMIT, used_micro=13)),
        (RELEASE, -9, {}, RELEASE),
    ],
)
def test_a_change_is_read_as_it_was_meant(
    change: ReservationChange, cost: int, fields: dict[str, bytes], expected: ReservationChange
) -> None:
    """With what the script decided."""
    entry = parsed(change, cost, **fields)
    assert isinstance(entry, StreamEntry)
    assert (entry.reservation, entry.cost_micro, entry.payload, entry.order) == (expected, cost, None, None)
    assert entry.period_at == (6 if "s" in fields else None)


@pytest.mark.parametrize(
    "entry",
    [
        parsed(OPENING, -1, d=b"50"),
        parsed(OPENING, MAX_COST_MICRO + 1, d=b"50"),
        parsed(OPENING, 9, d=b"%d" % (NEVER_AT + 1)),
        parsed(msgspec.structs.replace(OPENING, units_micro=MAX_UNITS_MICRO + 1), 9),
        parsed(msgspec.structs.replace(OPENING, properties='{"a": "\0"}'), 9),
        parsed(msgspec.structs.replace(COMMIT, price_id=None), u=b"5"),
        parsed(msgspec.structs.replace(RELEASE, price_id=UUID(int=2))),
        parsed(msgspec.structs.replace(RELEASE, state=ReservationState.OPEN)),
        parsed(COMMIT, u=b"%d" % (MAX_COST_MICRO + 1)),
        parsed(RELEASE, -MAX_COST_MICRO - 1),
        parsed(EXTENSION, -1, d=b"50"),
    ],
)
def test_what_the_ledger_would_refuse_is_rejected(entry: StreamEntry | UnreadableEntry) -> None:
    """One entry that no table takes would hold up its partition for ever."""
    assert isinstance(entry, UnreadableEntry)


def test_a_late_commit_of_credits_is_usage_without_units() -> None:
    """What was reserved in credits counts none."""
    payload = UsagePayload(UUID(int=7), "tokens", 0, UUID(int=2), None, None, None)
    fields = {b"a": b"ref", b"k": b"u", b"t": b"7", b"r": b"3", b"c": b"11", b"p": encode_usage(payload)}
    entry = parse_entry(b"1-1", fields)
    assert isinstance(entry, StreamEntry)
    assert entry.payload == payload
