"""Who wants to hold how much of a gauge: from the bytes that a client sent; everything wrong is refused by name."""

from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from app.wire.gauges import MAX_HELD_UNITS, MAX_HOLD_SECONDS, MAX_HOLDER_LENGTH
from edge.decoding import check_names, check_text, read_utf8, require_json
from edge.exchange import ID_SEGMENT, Exchange
from edge.json_bodies import decode, invalid_units
from edge.refusals import invalid_value, wrong_type


class AcquireBody(msgspec.Struct, forbid_unknown_fields=True):
    """Who wants to hold how much of a gauge, as it is sent."""

    end_user_id: str
    holder: str
    units: Any = 1
    ttl_seconds: int | None = None


class ReleaseBody(msgspec.Struct, forbid_unknown_fields=True):
    """Who gives back what it holds."""

    end_user_id: str
    holder: str


class HoldQuestion(msgspec.Struct, frozen=True):
    """Who wants to hold how much of a gauge; `units` 0 = give back what it holds."""

    end_user_id: str
    feature_key: str
    holder: str
    units: int = 0
    ttl_seconds: int = 0
    """0 = until it is released."""


_acquire_decoder = msgspec.json.Decoder(AcquireBody)
_release_decoder = msgspec.json.Decoder(ReleaseBody)


def read_acquire(exchange: Exchange) -> HoldQuestion:
    """Who wants to hold how much of the feature that the path names. Raises Refusal."""
    require_json(exchange)
    sent = decode(_acquire_decoder, exchange.body)
    if isinstance(sent.units, bool) or not isinstance(sent.units, int):
        raise wrong_type("units", "int", sent.units)
    if not 0 < sent.units <= MAX_HELD_UNITS:
        raise invalid_units(f"must be a whole number from 1 to {MAX_HELD_UNITS}")
    if sent.ttl_seconds is not None and not 0 < sent.ttl_seconds <= MAX_HOLD_SECONDS:
        raise invalid_value("ttl_seconds", f"must be from 1 to {MAX_HOLD_SECONDS}, or left out for no end")
    return _hold_question(exchange, sent.end_user_id, sent.holder, sent.units, sent.ttl_seconds or 0)


def read_release(exchange: Exchange) -> HoldQuestion:
    """Who gives back what it holds of the feature that the path names. Raises Refusal."""
    require_json(exchange)
    sent = decode(_release_decoder, exchange.body)
    return _hold_question(exchange, sent.end_user_id, sent.holder, 0, 0)


def _hold_question(exchange: Exchange, end_user_id: str, holder: str, units: int, ttl_seconds: int) -> HoldQuestion:
    feature_key = read_utf8("feature_key", unquote_to_bytes(exchange.path.split(b"/")[ID_SEGMENT]))
    check_names(end_user_id, feature_key)
    check_text("holder", holder, MAX_HOLDER_LENGTH)
    return HoldQuestion(end_user_id, feature_key, holder, units, ttl_seconds)
