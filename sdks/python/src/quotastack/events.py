"""A usage event from the moment in which it happened: its key and its time are fixed, however often it is sent."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import isfinite
from typing import Any, NotRequired, TypeAlias, TypedDict
from uuid import uuid4

import msgspec

Number: TypeAlias = int | float | Decimal
"""Units or credits that are sent; at most six decimals."""
MAX_BATCH_EVENTS = 1000
MAX_BATCH_BYTES = 3 * 1024 * 1024
"""Below what the service takes in one body."""
UNDATED_WITHIN = timedelta(hours=23)
"""Of a younger event the service still knows the key, wherever it had arrived: the time that we noted may be left out.

It knows keys for 24 hours. Behind that, what is sent without its time would be charged again.
"""
_MEMBERS = frozenset({"end_user_id", "feature_key", "units", "idempotency_key", "timestamp", "properties", "enforce"})
_BRACKETS = len('{"events":[]}')
_encoder = msgspec.json.Encoder(decimal_format="number")


class UsageEvent(TypedDict):
    """What has been used, by whom. Without an idempotency key one is made, without units it is one unit."""

    end_user_id: str
    feature_key: str
    units: NotRequired[Number]
    idempotency_key: NotRequired[str | None]
    timestamp: NotRequired[datetime | str | None]
    properties: NotRequired[Mapping[str, Any] | None]
    enforce: NotRequired[bool]


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An event as the spool has it. `timestamp` is when it happened; `is_timed` where the caller said so."""

    end_user_id: str
    feature_key: str
    units: int | float | Decimal
    idempotency_key: str
    timestamp: str
    properties: dict[str, Any] | None = None
    enforce: bool = False
    is_timed: bool = False

    def body(self, *, is_late: bool = False) -> bytes:
        """The event as it is sent. The time that we noted ourselves goes with what is sent late, and only then.

        What is sent at once takes the moment of arrival (of a sandbox, that of its test clock): so the caller may send
        the same again, under the same key, and the service sees the same.
        """
        sent: dict[str, Any] = {
            "end_user_id": self.end_user_id,
            "feature_key": self.feature_key,
            "units": self.units,
            "idempotency_key": self.idempotency_key,
        }
        if is_late or self.is_timed:
            sent["timestamp"] = self.timestamp
        if self.properties is not None:
            sent["properties"] = self.properties
        if self.enforce:
            sent["enforce"] = True
        return _encoder.encode(sent)


def new_event(event: UsageEvent) -> Event:
    """The event, with a key and the time of now where it has none.

    Raises TypeError or ValueError where it is none, whether the service is there or not: what waits would be refused
    when nobody is left to put it right.
    """
    _require_members(event)
    timestamp, properties = event.get("timestamp"), event.get("properties")
    made = Event(
        end_user_id=event["end_user_id"],
        feature_key=event["feature_key"],
        units=event.get("units", 1),
        idempotency_key=event.get("idempotency_key") or new_key(),
        timestamp=show_time(timestamp or datetime.now(UTC)),
        properties=None if properties is None else dict(properties),
        enforce=event.get("enforce", False),
        is_timed=timestamp is not None,
    )
    made.body()
    return made


def is_young(event: Event, now: datetime) -> bool:
    """Whether the event may be sent without the time that was noted."""
    try:
        return now - datetime.fromisoformat(event.timestamp) < UNDATED_WITHIN
    except (TypeError, ValueError):  # nobody knows when it was
        return False


def _require_members(event: Mapping[str, Any]) -> None:
    if strange := event.keys() - _MEMBERS:
        raise TypeError(f"A usage event has no {', '.join(sorted(map(str, strange)))}.")
    for name in ("end_user_id", "feature_key"):
        _require_text(name, event.get(name))
    if event.get("idempotency_key") is not None:
        _require_text("idempotency_key", event["idempotency_key"])
    require_number("units", event.get("units", 1))
    _require_kind("timestamp", event.get("timestamp"), (datetime, str, type(None)))
    _require_kind("properties", event.get("properties"), (Mapping, type(None)))
    _require_kind("enforce", event.get("enforce", False), (bool,))


def _require_text(name: str, value: object) -> None:
    _require_kind(name, value, (str,))
    if not value:
        raise ValueError(f"{name} is empty.")


def _require_kind(name: str, value: object, kinds: tuple[type, ...]) -> None:
    if not isinstance(value, kinds):
        raise TypeError(f"{name} cannot be {value!r} ({type(value).__name__}).")


def require_number(name: str, value: object) -> None:
    """Raises TypeError where it is no number, ValueError where it has no end or no value."""
    if isinstance(value, bool):
        raise TypeError(f"{name} cannot be {value!r} (bool).")
    if not isinstance(value, (int, float, Decimal)):
        raise TypeError(f"{name} cannot be {value!r} ({type(value).__name__}).")
    if not isfinite(value):
        raise ValueError(f"{name} cannot be {value!r}.")


def new_key() -> str:
    """An idempotency key that nobody has."""
    return str(uuid4())


def show_time(moment: datetime | str) -> str:
    """RFC 3339, in UTC. Raises ValueError for a datetime without its offset: nobody could say when that is."""
    if isinstance(moment, str):
        return moment
    if moment.tzinfo is None:
        raise ValueError("A timestamp needs its offset from UTC: datetime.now(UTC), say.")
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def to_json(value: object) -> bytes:
    """JSON with decimals as the numbers that they are. Raises TypeError for what has no form in JSON."""
    return _encoder.encode(value)


def line(event: Event) -> bytes:
    """The event as one line of a spool, without its end."""
    return _encoder.encode(event)


def batches(bodies: Sequence[bytes]) -> Iterator[slice]:
    """Parts that can be sent in one request each: neither too many events nor too many bytes."""
    start, size = 0, _BRACKETS
    for index, body in enumerate(bodies):
        if index > start and (index - start == MAX_BATCH_EVENTS or size + len(body) + 1 > MAX_BATCH_BYTES):
            yield slice(start, index)
            start, size = index, _BRACKETS
        size += len(body) + 1
    if bodies:
        yield slice(start, len(bodies))


def batch_body(bodies: Sequence[bytes]) -> bytes:
    """The body of `POST /v1/usage/batch`."""
    return b'{"events":[' + b",".join(bodies) + b"]}"
