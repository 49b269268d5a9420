"""Moments: integer microseconds since 1970 UTC, so that they order, compare and fit a double exactly."""

from datetime import UTC, datetime, timedelta

NEVER_AT = 2**53 - 1
"""After everything (the year 2255): the greatest integer that Lua's doubles count to."""

HOUR_MICROSECONDS = 3_600_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_at(moment: datetime) -> int:
    """An aware datetime as microseconds since the epoch."""
    return (moment - _EPOCH) // _MICROSECOND


def to_datetime(at: int) -> datetime:
    """Microseconds since the epoch as an aware datetime in UTC."""
    return _EPOCH + at * _MICROSECOND


def hour_of(at: int) -> int:
    """Where the hour (UTC) begins that a moment lies in."""
    return at - at % HOUR_MICROSECONDS


def to_rfc3339(at: int) -> str:
    """As the API shows a moment: `2026-11-23T18:00:00.000001Z`."""
    return to_datetime(at).isoformat().replace("+00:00", "Z")
