"""What Redis holds of a reservation, and what every process asks the scripts about one.

The hash has `state`, `ref` (whose it is), `facts`, `reserved` (micro-credits), `due` (microseconds); of one that was
opened here also `asked` and `opening` (fingerprint and outcome, for a repeat), `opened_id` and `until` (the entry of
its opening, and where its account's boundary was then); where the opening counted its units `units` (micro-units) and
`period` (in which it did); once it has ended `ended` and `ended_asked`, and after a late commit `late` and
`late_asked`. What it is never changes while it is here; where its key comes again after it was forgotten, it may be
opened as something else. So a process may remember `ref`, `facts` and `reserved`, and tells the script what it
remembers.
"""

from enum import StrEnum
from typing import Literal
from uuid import UUID

import msgspec

from app.rules.pricing import GraduatedPrice, Price
from app.wire import keys
from app.wire.events import UsagePayload, encode_usage
from app.wire.reservations import ReservationEnd, ReservationState, encode_change
from app.wire.tiers import pack_tiers

MAX_OPEN_RESERVATIONS = 10_000
"""Of one customer."""
DEFAULT_TTL_SECONDS = 600
MAX_TTL_SECONDS = 7 * 86_400
EXPIRY_LAG_SECONDS = 5
"""No reservation is open so long after it fell due, where Redis and jobs run: invariant 33."""
WHAT_IT_IS = (b"state", b"ref", b"facts", b"reserved")
"""Fields that everybody needs who ends a reservation, in this order."""

EndVerb = Literal[ReservationState.COMMITTED, ReservationState.RELEASED, ReservationState.EXPIRED]


class HeldState(StrEnum):
    """`state` of the hash where it is none of ReservationState."""

    REFUSED = "refused"


class Facts(msgspec.Struct, frozen=True, array_like=True):
    """What was reserved, and at which price it is committed."""

    feature_key: str
    in_credits: bool
    units_micro: int
    """0 where credits were reserved, which count no units."""
    price_id: UUID
    price: Price


class OpenReservation(msgspec.Struct, frozen=True):
    """An open reservation as the ledger knows it: loaded with its account."""

    reservation_id: UUID
    facts: Facts
    reserved_micro: int
    due_at: int
    period_at: int | None
    """In which its opening counted its units; None where they were not counted."""


class Ending(msgspec.Struct, frozen=True):
    """A call that ends a reservation. `asked_micro`: units or credits that were committed, in the measure reserved."""

    verb: EndVerb
    asked_micro: int = 0
    used_micro: int = 0
    """What that costs; at a graduated price only the script can say it."""


class EndedReservation(msgspec.Struct, frozen=True):
    """A reservation that has ended, as the ledger knows it: put back so that a repeat of its end is answered."""

    reservation_id: UUID
    ref: bytes
    facts: Facts
    reserved_micro: int
    due_at: int
    ending: Ending
    late: Ending | None
    """Of the commit that came after it had expired."""
    balance_micro: int
    """What can be spent now: shown to whoever repeats the end."""
    period_at: int | None
    """As of OpenReservation: a commit that comes late is counted where its opening was."""


EXPIRY = Ending(ReservationState.EXPIRED)

_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")
_decoder = msgspec.msgpack.Decoder(Facts)


def encode_facts(facts: Facts) -> bytes:
    """The facts as the hash holds them."""
    return _encoder.encode(facts)


def decode_facts(content: bytes) -> Facts:
    """The facts behind what the hash holds."""
    return _decoder.decode(content)


class Place(msgspec.Struct, frozen=True):
    """Where a reservation is: its partition, its account, its member of `due`."""

    partition: int
    ref: bytes
    member: bytes

    @property
    def key(self) -> bytes:
        """Its hash."""
        return keys.reservation_of(self.partition, self.member)

    @property
    def script_keys(self) -> tuple[bytes, ...]:
        """KEYS of every script about it: account, stream, reservation, used, due."""
        partition, ref = self.partition, self.ref
        first = (keys.account(partition, ref), keys.stream(partition), self.key)
        return (*first, keys.used(partition, ref), keys.due(partition))


class Opened(msgspec.Struct, frozen=True):
    """A reservation as it was opened: what whoever ends it goes by."""

    place: Place
    facts: Facts
    content: bytes
    """The facts as the hash has them."""
    reserved_micro: int


def read_opened(place: Place, content: bytes, reserved: bytes) -> Opened:
    """From the fields `facts` and `reserved` of the hash."""
    return Opened(place, decode_facts(content), content, int(reserved))


class Bounds(msgspec.Struct, frozen=True):
    """Settings that the scripts are given."""

    window_milliseconds: int
    most_entries: int


def end_arguments(opened: Opened, ending: Ending, now_at: int, bounds: Bounds) -> tuple[bytes | int | str, ...]:
    """ARGV of end_reservation.lua."""
    place, facts = opened.place, opened.facts
    is_commit = ending.verb is ReservationState.COMMITTED
    late = _late_usage(place, facts, ending) if is_commit else b""
    return (
        *(now_at, ending.verb.value, ending.used_micro, asked_text(ending), place.ref),
        *(_end(place, facts, ending), _end(place, facts, EXPIRY), late),
        *(bounds.window_milliseconds, bounds.most_entries),
        *_counting(facts, ending),
        *(opened.content, opened.reserved_micro),
    )


def restored_fields(ended: EndedReservation) -> tuple[bytes | int | str, ...]:
    """Names and values of the hash of a reservation that core puts back."""
    left_micro = max(0, ended.reserved_micro - ended.ending.used_micro)
    fields: tuple[bytes | int | str, ...] = (
        *("state", ended.ending.verb.value, "ref", ended.ref, "facts", encode_facts(ended.facts)),
        *("reserved", ended.reserved_micro, "due", ended.due_at, "ended_asked", asked_text(ended.ending)),
        *("ended", f"{ended.ending.used_micro}:{left_micro}:{ended.balance_micro}:0"),
    )
    if ended.period_at is not None:
        fields = (*fields, "units", ended.facts.units_micro, "period", ended.period_at)
    if ended.late is None:
        return fields
    return (*fields, "late_asked", asked_text(ended.late), "late", f"{ended.late.used_micro}:0:{ended.balance_micro}:1")


def _counting(facts: Facts, ending: Ending) -> tuple[bytes | int | str, ...]:
    """Tiers, feature key and units. Tiers where the cost of a commit follows from what was used in the period."""
    if facts.in_credits:
        return ("", "", "")
    is_commit = ending.verb is ReservationState.COMMITTED
    tiers = pack_tiers(facts.price) if is_commit and isinstance(facts.price, GraduatedPrice) else ""
    return (tiers, facts.feature_key, ending.asked_micro)


def asked_text(ending: Ending) -> str:
    """By what a repeat of the call is known: a commit by its amount."""
    return str(ending.asked_micro) if ending.verb is ReservationState.COMMITTED else ""


def _end(place: Place, facts: Facts, ending: Ending) -> bytes:
    is_commit = ending.verb is ReservationState.COMMITTED
    return encode_change(
        ReservationEnd(
            reservation_id=keys.reservation_id_of(place.member),
            feature_key=facts.feature_key,
            state=ending.verb,
            units_micro=_used_units_micro(facts, ending),
            price_id=facts.price_id if is_commit else None,
        )
    )


def _late_usage(place: Place, facts: Facts, ending: Ending) -> bytes:
    """The event has the reservation's id, so that it has one effect in the ledger, whenever it comes."""
    event_id, units_micro = keys.reservation_id_of(place.member), _used_units_micro(facts, ending)
    payload = UsagePayload(event_id, facts.feature_key, units_micro, facts.price_id, None, None, None, is_late=True)
    return encode_usage(payload)


def _used_units_micro(facts: Facts, ending: Ending) -> int:
    return 0 if facts.in_credits else ending.asked_micro
