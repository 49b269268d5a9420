"""Entries of the stream.

A stream entry has five fields: `a` the account ref, `k` the kind, `t` the accepted time (microseconds), `r` the
revision that the script saw, `c` the signed cost in micro-credits. All but ticks have `p` as MessagePack: the payload
below, an order (`wire.orders`), what becomes of a reservation (`wire.reservations`) or of a gauge (`wire.gauges`), or
why an event was rejected. What a script decides stands beside it: `d` when a reservation falls due or the time of a
gauge's holder is over (microseconds), `u` what of a reservation was used (micro-credits), `s` the start of the period
in which units were counted (microseconds).
"""

from enum import StrEnum
from uuid import UUID

import msgspec

from app.rules.credits import MAX_COST_MICRO, MAX_UNITS_MICRO
from app.rules.moments import NEVER_AT
from app.wire.gauges import GaugeChange, decode_gauge
from app.wire.orders import Order, decode_order
from app.wire.reservations import ReservationChange, ReservationEnd, decode_change


class EntryKind(StrEnum):
    """What an entry of the stream is."""

    USAGE = "u"
    TICK = "t"
    ORDER = "o"
    RESERVATION = "r"
    REJECTED = "j"
    """Usage that an edge had acknowledged and spooled, and could not take in: it is to be listed, and costs nothing."""
    GAUGE = "g"


_KINDS = {kind.value.encode(): kind for kind in EntryKind}


class UsagePayload(msgspec.Struct, frozen=True, array_like=True):
    """What the edge knows of a usage event before its script runs. Sent as a MessagePack array, in this order."""

    event_id: UUID
    feature_key: str
    units_micro: int
    """0 only of credits that were reserved and committed late, which count no units."""
    price_id: UUID
    occurred_at: int | None
    """Microseconds; None = the accepted time."""
    idempotency_key: str | None
    """None where the client sent no key: the retry of such an event is another event."""
    properties: str | None
    """The text of the JSON object as it was sent."""
    is_late: bool = False
    """Whether it is the commit of a reservation that had expired; the event has its id."""


NO_PRICE = UUID(int=0)
"""The `price_id` of usage that was rejected before it was priced."""


class Rejection(msgspec.Struct, frozen=True, array_like=True):
    """Why an edge could not take in what it had spooled. Sent as a MessagePack array, in this order."""

    code: str
    detail: str
    usage: UsagePayload


class StreamEntry(msgspec.Struct, frozen=True):
    """A parsed entry. `stream_id` is (milliseconds, sequence), which orders entries within an incarnation."""

    stream_id: tuple[int, int]
    ref: bytes
    kind: EntryKind
    accepted_at: int
    revision: int
    cost_micro: int
    payload: UsagePayload | None
    """Of a usage entry, and of no other."""
    order: Order | None = None
    """Of an order, and of no other."""
    reservation: ReservationChange | None = None
    """Of an entry about a reservation, and of no other."""
    period_at: int | None = None
    """Start of the period in which its units were counted; None where they were not."""
    rejection: Rejection | None = None
    """Of a rejected event, and of no other."""
    gauge: GaugeChange | None = None
    """Of an entry about a gauge, and of no other."""

    @property
    def sent(self) -> UsagePayload | None:
        """The usage event in it, whether it is to be posted or was rejected."""
        return self.payload if self.rejection is None else self.rejection.usage


class UnreadableEntry(msgspec.Struct, frozen=True):
    """An entry that cannot be posted.

    It is kept as rejected; `cost_micro` (0 where even that is lost) still counts as applied.
    """

    stream_id: tuple[int, int]
    ref: bytes
    cost_micro: int
    detail: str
    fields: dict[bytes, bytes]
    event_id: UUID | None = None
    """Of the usage event in it, where that can be told."""


UNSTORABLE = b"entry"
"""The field of an UnreadableEntry that holds a whole entry which the ledger's tables refused."""


class _Rejected(msgspec.Struct, frozen=True):
    fields: dict[bytes, bytes] | None = None


_entry_decoder = msgspec.msgpack.Decoder(StreamEntry)
_rejected_decoder = msgspec.msgpack.Decoder(_Rejected)
_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")
_decoder = msgspec.msgpack.Decoder(UsagePayload)
_rejection_decoder = msgspec.msgpack.Decoder(Rejection)


def encode_usage(payload: UsagePayload) -> bytes:
    """The payload as it goes into the stream."""
    return _encoder.encode(payload)


def encode_rejection(rejection: Rejection) -> bytes:
    """The rejection as it goes into the stream."""
    return _encoder.encode(rejection)


def usage_of(rejected: bytes) -> StreamEntry | None:
    """The usage event in an entry as it is kept once it is rejected; None where it holds none that can be read.

    Its `payload` is None where the event has no price and therefore cannot be posted as it is.
    """
    try:
        entry = _rejected_decoder.decode(rejected)
        if entry.fields is not None:
            inner = entry.fields.get(UNSTORABLE)
            return None if inner is None else usage_of(inner)
        usage = _entry_decoder.decode(rejected)
    except (msgspec.MsgspecError, RecursionError):
        return None
    return None if usage.sent is None else usage


def parse_stream_id(text: bytes) -> tuple[int, int]:
    """`1700000000000-5` as (1700000000000, 5)."""
    milliseconds, _, sequence = text.partition(b"-")
    return int(milliseconds), int(sequence)


def show_stream_id(stream_id: tuple[int, int]) -> str:
    """(1700000000000, 5) as `1700000000000-5`."""
    return f"{stream_id[0]}-{stream_id[1]}"


def parse_entry(stream_id: bytes, fields: dict[bytes, bytes]) -> StreamEntry | UnreadableEntry:
    """A stream entry from what Redis answers."""
    try:
        return _parse(stream_id, fields)
    except (KeyError, ValueError, msgspec.MsgspecError) as error:
        return UnreadableEntry(
            parse_stream_id(stream_id),
            fields.get(b"a", b""),
            _readable_cost(fields.get(b"c", b"")),
            f"{type(error).__name__}: {error}",
            fields,
        )


def _readable_cost(text: bytes) -> int:
    """What a rejected entry still counts as applied: a cost that no script can have written counts nothing."""
    if not text.removeprefix(b"-").isdigit() or len(text) > len(str(-MAX_COST_MICRO)):
        return 0
    return max(-MAX_COST_MICRO, min(int(text), MAX_COST_MICRO))


def _parse(stream_id: bytes, fields: dict[bytes, bytes]) -> StreamEntry:
    kind, cost_micro = _KINDS[fields[b"k"]], int(fields[b"c"])
    payload = order = reservation = rejection = gauge = None
    if kind is EntryKind.USAGE:
        payload = _decoder.decode(fields[b"p"])
        _check_payload(payload)
    elif kind is EntryKind.ORDER:
        order = decode_order(fields[b"p"])
    elif kind is EntryKind.RESERVATION:
        reservation = decode_change(fields[b"p"], int(fields.get(b"d", 0)), int(fields.get(b"u", 0)))
    elif kind is EntryKind.GAUGE:
        gauge = decode_gauge(fields[b"p"], int(fields[b"d"]) if b"d" in fields else None)
    elif kind is EntryKind.REJECTED:
        rejection = _rejection_decoder.decode(fields[b"p"])
        _check_rejection(rejection, cost_micro)
    period = fields.get(b"s")
    entry = StreamEntry(
        parse_stream_id(stream_id),
        fields[b"a"],
        kind,
        int(fields[b"t"]),
        int(fields[b"r"]),
        cost_micro,
        payload,
        order,
        reservation,
        None if period is None else int(period),
        rejection,
        gauge,
    )
    least_micro = -MAX_COST_MICRO if isinstance(reservation, ReservationEnd) else 0
    if not (least_micro <= cost_micro <= MAX_COST_MICRO and 0 <= entry.accepted_at <= NEVER_AT):
        raise ValueError("cost or accepted time are out of bounds")
    if not 0 <= (entry.period_at or 0) <= NEVER_AT:
        raise ValueError("the period is out of bounds")
    return entry


def _check_payload(payload: UsagePayload) -> None:
    """What the ledger's tables would refuse must not reach them: one poisoned entry would hold up its partition."""
    if not 0 <= payload.units_micro <= MAX_UNITS_MICRO:
        message = "units are out of bounds"
    elif "\0" in payload.feature_key + (payload.idempotency_key or "") + (payload.properties or ""):
        message = "a text holds a zero byte"
    elif payload.occurred_at is not None and not 0 <= payload.occurred_at <= NEVER_AT:
        message = "occurred_at is out of bounds"
    else:
        return
    raise ValueError(message)


def _check_rejection(rejection: Rejection, cost_micro: int) -> None:
    _check_payload(rejection.usage)
    if "\0" in rejection.code + rejection.detail:
        raise ValueError("a text holds a zero byte")
    if cost_micro:
        raise ValueError("what was rejected costs nothing")
