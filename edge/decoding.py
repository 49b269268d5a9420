"""From bytes that a client sent to values that can be worked with; everything wrong is refused by name."""

import re
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Annotated, Any
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import Meta

from app.rules.credits import ABOVE_ZERO, MAX_COST_MICRO, MAX_UNITS_MICRO, MICRO, NotAnAmount, to_micro
from app.rules.moments import to_at
from app.wire.codes import Code
from app.wire.complaints import MISSING, REPEATED
from app.wire.held import DEFAULT_TTL_SECONDS, MAX_TTL_SECONDS
from edge.exchange import Exchange
from edge.json_bodies import decode, decode_many, invalid_units, unknown_parameter
from edge.refusals import Refusal, invalid_field, invalid_value, wrong_type

JSON = b"application/json"
MAX_END_USER_ID = 256
MAX_FEATURE_KEY = 64
MAX_IDEMPOTENCY_KEY = 255
MAX_PROPERTIES_BYTES = 4096
MAX_BATCH_EVENTS = 1000
MAX_BATCH_CHECKS = 100
MAX_NUMBER_CHARACTERS = 40
MAX_QUERIES = 10_000
"""Queries of checks that a worker remembers the meaning of: the same ones come again and again."""
MAX_REMEMBERED_QUERY = 1024
"""Bytes; longer ones are read each time they come."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def _read_number(text: str) -> Decimal:
    if len(text) > MAX_NUMBER_CHARACTERS:
        raise Refusal(Code.INVALID_UNITS, f"units has more than {MAX_NUMBER_CHARACTERS} characters.")
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent beyond what Decimal holds
        raise Refusal(Code.INVALID_UNITS, "units is beyond every bound.") from None


def _read_amount(text: str) -> Decimal:
    try:
        return Decimal(text) if len(text) <= MAX_NUMBER_CHARACTERS else Decimal("inf")
    except InvalidOperation:  # an exponent beyond what Decimal holds
        return Decimal("inf")  # refused by the name of its field


class UsageBody(msgspec.Struct, forbid_unknown_fields=True):
    """One usage event as it is sent."""

    end_user_id: str
    feature_key: str
    units: Any = 1
    """An int or a Decimal; anything else is refused after decoding, because msgspec would take a text for a Decimal."""
    idempotency_key: str | None = None
    timestamp: Annotated[datetime, Meta(tz=True)] | None = None
    properties: msgspec.Raw = msgspec.Raw(b"null")
    enforce: bool = False


class ReservationBody(msgspec.Struct, forbid_unknown_fields=True):
    """An opening as it is sent: units or credits."""

    end_user_id: str
    feature_key: str
    units: Any = None
    credits: Any = None
    ttl_seconds: int = DEFAULT_TTL_SECONDS
    idempotency_key: str | None = None
    properties: msgspec.Raw = msgspec.Raw(b"null")


class CommitBody(msgspec.Struct, forbid_unknown_fields=True):
    """What was really used; neither = all that was reserved."""

    units: Any = None
    credits: Any = None


class ExtensionBody(msgspec.Struct, forbid_unknown_fields=True):
    """How long the reservation stays open from now."""

    ttl_seconds: int = DEFAULT_TTL_SECONDS


class NoBody(msgspec.Struct, forbid_unknown_fields=True):
    """Nothing can be said."""


class BatchBody(msgspec.Struct, forbid_unknown_fields=True):
    """Many, each read on its own."""

    events: list[msgspec.Raw]


class CheckBody(msgspec.Struct, forbid_unknown_fields=True):
    """One check of a batch as it is sent; `units` as in a UsageBody."""

    end_user_id: str
    feature_key: str
    units: Any = 1
    properties: msgspec.Raw = msgspec.Raw(b"null")


class CheckBatchBody(msgspec.Struct, forbid_unknown_fields=True):
    """Many, each read on its own."""

    checks: list[msgspec.Raw]


class UsageEvent(msgspec.Struct, frozen=True):
    """A usage event that was looked at: what can be said of it without knowing the customer."""

    end_user_id: str
    feature_key: str
    units_micro: int
    idempotency_key: str | None
    occurred_at: int | None
    """Microseconds."""
    properties: str | None
    """The text of a JSON object."""
    enforce: bool


class Amount(msgspec.Struct, frozen=True):
    """Units or credits."""

    micro: int
    in_credits: bool


class Opening(msgspec.Struct, frozen=True):
    """A reservation that is asked for."""

    end_user_id: str
    feature_key: str
    amount: Amount
    ttl_seconds: int
    idempotency_key: str | None
    properties: str | None
    """The text of a JSON object."""


class CheckQuestion(msgspec.Struct, frozen=True):
    """What a check asks."""

    end_user_id: str
    feature_key: str
    units_micro: int
    properties: str | None = None
    """The text of a JSON object: a price may be for some of them only."""


_usage_decoder = msgspec.json.Decoder(UsageBody, float_hook=_read_number)
_batch_decoder = msgspec.json.Decoder(BatchBody)
_check_decoder = msgspec.json.Decoder(CheckBody, float_hook=_read_number)
_check_batch_decoder = msgspec.json.Decoder(CheckBatchBody)
_opening_decoder = msgspec.json.Decoder(ReservationBody, float_hook=_read_amount)
_commit_decoder = msgspec.json.Decoder(CommitBody | None, float_hook=_read_amount)
_extension_decoder = msgspec.json.Decoder(ExtensionBody)
_nothing_decoder = msgspec.json.Decoder(NoBody | None)
_object_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_number_decoder = msgspec.json.Decoder(float_hook=_read_number)


def require_json(exchange: Exchange) -> None:
    """Raises Refusal where the body says of itself that it is something else, or where there is a query."""
    if media_type(exchange) != JSON:
        raise Refusal(Code.UNSUPPORTED_MEDIA_TYPE, "Send the body as application/json.")
    require_plain(exchange)


def media_type(exchange: Exchange) -> bytes:
    """What the body says of itself, in small letters and without parameters; where it says nothing, JSON."""
    return exchange.headers.get(b"content-type", JSON).partition(b";")[0].strip().lower()


def require_plain(exchange: Exchange) -> None:
    """Raises Refusal where the body is coded, or where there is a query."""
    if exchange.headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Refusal(Code.UNSUPPORTED_MEDIA_TYPE, "Send the body as it is, without a Content-Encoding.")
    refuse_query(exchange)


def refuse_query(exchange: Exchange) -> None:
    """Raises Refusal where there is a query."""
    if exchange.query:
        name = _unquote("the query", exchange.query.partition(b"&")[0].partition(b"=")[0])
        raise unknown_parameter(name)


def header_key(exchange: Exchange) -> str | None:
    """The Idempotency-Key of the head. Raises Refusal."""
    value = exchange.headers.get(b"idempotency-key")
    return None if value is None else _usable_key(read_utf8("Idempotency-Key", value.strip()), "Idempotency-Key")


def read_usage(body: bytes | msgspec.Raw, default_key: str | None) -> UsageEvent:
    """A usage event; without an idempotency key of its own it takes `default_key`. Raises Refusal."""
    sent = decode(_usage_decoder, body)
    key = default_key
    if sent.idempotency_key is not None:
        key = _usable_key(sent.idempotency_key, "idempotency_key")
    units_micro = _units_micro(sent.units, ABOVE_ZERO)
    occurred_at = None if sent.timestamp is None else to_at(sent.timestamp)
    check_names(sent.end_user_id, sent.feature_key)
    properties = _properties(bytes(sent.properties))
    return UsageEvent(sent.end_user_id, sent.feature_key, units_micro, key, occurred_at, properties, sent.enforce)


def read_opening(body: bytes, default_key: str | None) -> Opening:
    """A reservation that is asked for; without an idempotency key of its own it takes `default_key`. Raises Refusal."""
    sent = decode(_opening_decoder, body)
    amount = _amount(sent.units, sent.credits, ABOVE_ZERO)
    if amount is None:
        raise invalid_value("units", "or credits must say how much to reserve")
    key = default_key if sent.idempotency_key is None else _usable_key(sent.idempotency_key, "idempotency_key")
    check_names(sent.end_user_id, sent.feature_key)
    ttl_seconds = _ttl_seconds(sent.ttl_seconds)
    return Opening(sent.end_user_id, sent.feature_key, amount, ttl_seconds, key, _properties(bytes(sent.properties)))


def read_commit(body: bytes) -> Amount | None:
    """What was really used, 0 or more; None = all that was reserved. Raises Refusal."""
    sent = decode(_commit_decoder, body) if body else None
    return None if sent is None else _amount(sent.units, sent.credits, 0)


def read_extension(body: bytes) -> int:
    """How many seconds the reservation stays open from now. Raises Refusal."""
    return _ttl_seconds(decode(_extension_decoder, body or b"{}").ttl_seconds)


def read_nothing(body: bytes) -> None:
    """Raises Refusal where a body says something."""
    if body:
        decode(_nothing_decoder, body)


def _ttl_seconds(sent: int) -> int:
    if not 1 <= sent <= MAX_TTL_SECONDS:
        raise invalid_value("ttl_seconds", f"must be between 1 and {MAX_TTL_SECONDS}")
    return sent


def _amount(units: object, credits_sent: object, least_micro: int) -> Amount | None:
    if units is not None and credits_sent is not None:
        raise invalid_value("credits", "came beside units; send one of them")
    if credits_sent is None:
        return None if units is None else Amount(_units_micro(units, least_micro), in_credits=False)
    if isinstance(credits_sent, bool) or not isinstance(credits_sent, (int, Decimal)):
        raise wrong_type("credits", "number", credits_sent)
    try:
        return Amount(to_micro(credits_sent, MAX_COST_MICRO, least_micro), in_credits=True)
    except NotAnAmount as error:
        raise invalid_value("credits", str(error)) from None


def read_batch(body: bytes) -> list[msgspec.Raw]:
    """The events of a batch, still as text. Raises Refusal."""
    return _some("events", decode_many(_batch_decoder, body, "events").events, MAX_BATCH_EVENTS)


def read_check_batch(body: bytes) -> list[msgspec.Raw]:
    """The checks of a batch, still as text. Raises Refusal."""
    return _some("checks", decode_many(_check_batch_decoder, body, "checks").checks, MAX_BATCH_CHECKS)


def _some(name: str, found: list[msgspec.Raw], most: int) -> list[msgspec.Raw]:
    if not found:
        raise invalid_value(name, "must not be empty")
    if len(found) > most:
        raise Refusal(Code.BATCH_TOO_LARGE, f"A batch may have {most} {name}; this one has {len(found)}.")
    return found


def read_check_of_batch(body: msgspec.Raw) -> CheckQuestion:
    """One check of a batch. Raises Refusal."""
    sent = decode(_check_decoder, body)
    check_names(sent.end_user_id, sent.feature_key)
    properties = _properties(bytes(sent.properties))
    return CheckQuestion(sent.end_user_id, sent.feature_key, _checked_units(sent.units), properties)


def read_end_user(query: bytes) -> str:
    """The customer that a query names, and nothing else. Raises Refusal."""
    sent = _parameters(query)
    end_user_id = _parameter(sent, "end_user_id")
    _refuse_rest(sent)
    check_text("end_user_id", end_user_id, MAX_END_USER_ID)
    return end_user_id


def read_check(query: bytes) -> CheckQuestion:
    """A check from its query string. Raises Refusal."""
    return _remembered_check(query) if len(query) <= MAX_REMEMBERED_QUERY else _check_of(query)


def _check_of(query: bytes) -> CheckQuestion:
    sent = _parameters(query)
    end_user_id = _parameter(sent, "end_user_id")
    feature_key = _parameter(sent, "feature_key")
    units = sent.pop(b"units", None)
    properties = sent.pop(b"properties", None)
    _refuse_rest(sent)
    units_micro = MICRO if units is None else _checked_units(_number(_unquote("units", units)))
    check_names(end_user_id, feature_key)
    text = None if properties is None else _query_properties(_unquote("properties", properties))
    return CheckQuestion(end_user_id, feature_key, units_micro, text)


_remembered_check = lru_cache(maxsize=MAX_QUERIES)(_check_of)


def _checked_units(units: object) -> int:
    """Of a check, which may ask for none at all."""
    return _units_micro(units, 0)


def _parameters(query: bytes) -> dict[bytes, bytes]:
    if b"#" in query:  # a proxy would end the query there
        raise invalid_field("the query", "holds a '#', which ends an address; send it as %23")
    sent: dict[bytes, bytes] = {}
    for pair in query.split(b"&") if query else ():
        name, _, value = pair.partition(b"=")
        if name in sent:
            raise invalid_field(_unquote("the query", name), REPEATED)
        sent[name] = value
    return sent


def _refuse_rest(sent: dict[bytes, bytes]) -> None:
    if sent:
        raise unknown_parameter(_unquote("the query", next(iter(sent))))


def _parameter(sent: dict[bytes, bytes], name: str) -> str:
    value = sent.pop(name.encode(), None)
    if value is None:
        raise invalid_field(name, MISSING)
    return _unquote(name, value)


def _unquote(name: str, value: bytes) -> str:
    if b"%" in value or b"+" in value:
        value = unquote_to_bytes(value.replace(b"+", b" "))
    return read_utf8(name, value)


def read_utf8(name: str, value: bytes) -> str:
    """The text. Raises Refusal."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise invalid_field(name, "is not valid UTF-8") from None


def _number(text: str) -> object:
    try:
        return _number_decoder.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return text


def _units_micro(units: object, least_micro: int) -> int:
    if isinstance(units, bool) or not isinstance(units, (int, Decimal)):
        raise wrong_type("units", "number", units)
    try:
        return to_micro(units, MAX_UNITS_MICRO, least_micro)
    except NotAnAmount as error:
        raise invalid_units(str(error)) from None


def check_names(end_user_id: str, feature_key: str) -> None:
    """Raises Refusal where one of them is no name."""
    check_text("end_user_id", end_user_id, MAX_END_USER_ID)
    check_text("feature_key", feature_key, MAX_FEATURE_KEY)


def check_text(name: str, text: str, longest: int) -> None:
    """Raises Refusal where the text is empty, too long or holds control characters."""
    if not 0 < len(text) <= longest:
        raise invalid_value(name, f"must have 1 to {longest} characters")
    if not text.isprintable() and _CONTROL.search(text):
        raise invalid_value(name, "must not hold control characters")


def _usable_key(key: str, name: str) -> str:
    if not 0 < len(key) <= MAX_IDEMPOTENCY_KEY or not key.isprintable():
        raise invalid_value(name, f"must have 1 to {MAX_IDEMPOTENCY_KEY} printable characters")
    return key


def _properties(raw: bytes) -> str | None:
    if raw == b"null":
        return None
    if raw[:1] != b"{":
        raise invalid_field("properties", "must be an object")
    if len(raw) > MAX_PROPERTIES_BYTES:
        raise invalid_value("properties", f"may have {MAX_PROPERTIES_BYTES} bytes; it has {len(raw)}")
    return read_utf8("properties", raw)  # msgspec looks at the form of what it leaves raw, not at its texts


def _query_properties(text: str) -> str | None:
    """What stands in a query was not read as JSON yet."""
    properties = _properties(text.encode())
    if properties is not None:
        try:
            _object_decoder.decode(properties)
        except (msgspec.MsgspecError, RecursionError):
            raise invalid_field("properties", "must be an object") from None
    return properties
