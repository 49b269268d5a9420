"""CloudEvents 1.0 in their JSON formats, and the usage that a feature reads in one.

Attributes that nothing here reads are extensions, and are passed over, as the specification has it. `source` and `id`
together are the event's identity, and so its idempotency key.
"""

from datetime import datetime
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from typing import Annotated

import msgspec
from msgspec import Meta

from app.rules.credits import MAX_UNITS_MICRO, MICRO, NotAnAmount, to_micro
from app.rules.moments import to_at
from app.wire.codes import Code
from app.wire.complaints import MISSING, Complaint
from edge.decoding import (
    MAX_BATCH_EVENTS,
    MAX_END_USER_ID,
    MAX_IDEMPOTENCY_KEY,
    MAX_NUMBER_CHARACTERS,
    MAX_PROPERTIES_BYTES,
    UsageEvent,
    check_text,
    read_utf8,
)
from edge.json_bodies import decode, decode_outer
from edge.refusals import Refusal, invalid_field, invalid_value, refusal_of

SPEC_VERSION = "1.0"
MAX_ATTRIBUTE = 1024
"""Characters of `id`, `source` and `type`."""
UNITS_MEMBER = "units"
"""Where the units are, unless the feature says otherwise."""

_NOTHING = b"null"
"""A member that is null is one that is not there (JSON event format, 2.2)."""
_FIRST_OF_NUMBER = b'-0123456789"'


class CloudEventBody(msgspec.Struct):
    """One CloudEvent as it is sent; what else it has is passed over."""

    specversion: str
    id: str
    source: str
    type: str
    subject: str | None = None
    time: Annotated[datetime, Meta(tz=True)] | None = None
    data: msgspec.Raw = msgspec.Raw(_NOTHING)
    data_base64: msgspec.Raw = msgspec.Raw(_NOTHING)


class CloudEvent(msgspec.Struct, frozen=True):
    """A CloudEvent that was looked at."""

    end_user_id: str
    type: str
    idempotency_key: str
    occurred_at: int | None
    """Microseconds."""
    members: dict[str, msgspec.Raw]
    """Of `data`; none where that is no object."""
    properties: str | None
    """The text of `data` where that is an object."""

    def usage(self, feature_key: str, units_from: str | None) -> UsageEvent | None:
        """What a feature reads in it; None where that is no units at all. Raises Refusal that names the member."""
        units_micro = self._units_micro(feature_key, units_from)
        if not units_micro:
            return None
        return UsageEvent(
            self.end_user_id,
            feature_key,
            units_micro,
            self.idempotency_key,
            self.occurred_at,
            self.properties,
            enforce=False,
        )

    def _units_micro(self, feature_key: str, units_from: str | None) -> int:
        path = units_from or UNITS_MEMBER
        found = self._member(path)
        if found != _NOTHING:
            return _read_units(f"data.{path}", found)
        if units_from is None:
            return MICRO
        raise _invalid_units(f"data.{path}", f"{MISSING}; '{feature_key}' reads its units there")

    def _member(self, path: str) -> bytes:
        first, *names = path.split(".")
        found = bytes(self.members.get(first, _NOTHING))
        for name in names:
            found = bytes(_members(found).get(name, _NOTHING))
        return found


_event_decoder = msgspec.json.Decoder(CloudEventBody)
_batch_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_members_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_number_decoder = msgspec.json.Decoder(float_hook=Decimal)


def read_cloud_batch(body: bytes) -> list[msgspec.Raw]:
    """The events of a batch, still as text; the specification lets it be empty. Raises Refusal."""
    events = decode_outer(_batch_decoder, body)
    if len(events) > MAX_BATCH_EVENTS:
        raise Refusal(Code.BATCH_TOO_LARGE, f"A batch may have {MAX_BATCH_EVENTS} events; this one has {len(events)}.")
    return events


def read_cloud_event(body: bytes | msgspec.Raw) -> CloudEvent:
    """One event. Raises Refusal that names the attribute."""
    sent = decode(_event_decoder, body)
    if sent.specversion != SPEC_VERSION:
        raise invalid_value("specversion", f"must be {SPEC_VERSION}")
    for name, text in (("id", sent.id), ("source", sent.source), ("type", sent.type)):
        check_text(name, text, MAX_ATTRIBUTE)
    if sent.subject is None:
        raise invalid_field("subject", f"{MISSING}; it names the customer who used something")
    check_text("subject", sent.subject, MAX_END_USER_ID)
    if bytes(sent.data_base64) != _NOTHING:
        raise invalid_value("data_base64", "is not read; send the usage as JSON, in data")
    data = bytes(sent.data)
    return CloudEvent(
        sent.subject,
        sent.type,
        idempotency_key(sent.source, sent.id),
        None if sent.time is None else to_at(sent.time),
        _members(data),
        _properties(data),
    )


def idempotency_key(source: str, event_id: str) -> str:
    """Another key for every other pair: both in plain text where that can be told apart and is short, else a digest.

    A source is a URI reference, which has no space in it.
    """
    plain = f"{source} {event_id}"
    if " " not in source and len(plain) <= MAX_IDEMPOTENCY_KEY and plain.isprintable():
        return plain
    return "sha256:" + sha256(f"{len(source)} {plain}".encode()).hexdigest()


def _properties(data: bytes) -> str | None:
    """Too large an object is refused, not left out: which price applies may depend on it."""
    if data[:1] != b"{":
        return None
    if len(data) > MAX_PROPERTIES_BYTES:
        raise invalid_value("data", f"may have {MAX_PROPERTIES_BYTES} bytes; it has {len(data)}")
    return read_utf8("data", data)


def _members(data: bytes) -> dict[str, msgspec.Raw]:
    return decode_outer(_members_decoder, data) if data[:1] == b"{" else {}


def _read_units(name: str, sent: bytes) -> int:
    """A number, or a text that is one: emitters send both."""
    if sent[:1] not in _FIRST_OF_NUMBER:
        raise _invalid_units(name, "must be a number, or a text that is one")
    if len(sent) > MAX_NUMBER_CHARACTERS:
        raise _invalid_units(name, f"has more than {MAX_NUMBER_CHARACTERS} characters")
    number = _read_number(sent)
    if isinstance(number, str):
        number = _read_number(number.encode())
    if isinstance(number, bool) or not isinstance(number, (int, Decimal)):
        raise _invalid_units(name, "must be a number, or a text that is one")
    try:
        return to_micro(number, MAX_UNITS_MICRO, 0)
    except NotAnAmount as error:
        raise _invalid_units(name, str(error)) from None


def _read_number(text: bytes) -> object:
    try:
        return _number_decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, InvalidOperation):
        return None


def _invalid_units(name: str, message: str) -> Refusal:
    return refusal_of(Complaint(Code.INVALID_UNITS, name, message))
