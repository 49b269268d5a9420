"""Types of fields that many bodies share."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from app.errors import invalid_value
from app.rules.moments import NEVER_AT, to_at, to_rfc3339
from app.wire.complaints import NOT_A_MOMENT, THE_CLOCK, now_in_words

# Python's `$` lets a line end through; `(?!\n)` does not, and means the same in every dialect.
_KEY = r"^[a-z0-9_.-]{1,64}$(?!\n)"
_MEMBER = r"^[^.\x00-\x1f\x7f-\x9f]+(\.[^.\x00-\x1f\x7f-\x9f]+){0,7}$(?!\n)"
_CURRENCY = r"^[A-Z]{3}$(?!\n)"
_PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f]+$(?!\n)"
_DESCRIPTION = r"^[^\x00-\x1f\x7f-\x9f]*$(?!\n)"
FIRST, LAST = to_rfc3339(0), to_rfc3339(NEVER_AT)
"""Between them lie all moments that can be kept; the last is not one of them."""
PATTERN_MEANINGS = {
    repr(_KEY): "must have 1 to 64 characters of a-z, 0-9, '_', '.', '-'",
    repr(_PRINTABLE): "must not hold control characters",
    repr(_DESCRIPTION): "must not hold control characters",
    repr(_MEMBER): "must be 1 to 8 names of members, with dots between them and no control characters",
    repr(_CURRENCY): "must have three capital letters, such as EUR",
}

EndUserId = Annotated[
    str, Meta(min_length=1, max_length=256, pattern=_PRINTABLE, description="Your own id of the user.")
]
Key = Annotated[str, Meta(pattern=_KEY, description="A name of your choice: 1 to 64 of a-z, 0-9, `_`, `.`, `-`.")]
Description = Annotated[str, Meta(max_length=500, pattern=_DESCRIPTION)]
Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=_PRINTABLE)]
EventType = Annotated[
    str,
    Meta(min_length=1, max_length=256, pattern=_PRINTABLE, description="The `type` of CloudEvents that it counts."),
]
UnitsFrom = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=256,
        pattern=_MEMBER,
        description="Which member of a CloudEvent's `data` holds the units; a dot leads into it: `usage.total`.",
    ),
]
Reason = Annotated[str, Meta(min_length=1, max_length=500, pattern=_PRINTABLE, description="For whoever asks why.")]
Reference = Annotated[
    str, Meta(min_length=1, max_length=255, pattern=_PRINTABLE, description="A name that your own records have for it.")
]
PricePaid = Annotated[
    int, Meta(ge=0, le=10**15, description="What was paid, in the smallest unit of the currency (cents, yen).")
]
Currency = Annotated[str, Meta(pattern=_CURRENCY, description="ISO 4217, such as EUR.")]
Moment = Annotated[datetime, Meta(tz=True, description="RFC 3339, with its offset from UTC.")]
IntervalCount = Annotated[int, Meta(ge=1, le=366)]
Priority = Annotated[int, Meta(ge=0, le=1000, description="Blocks of a lower priority are spent first.")]


def read_moment(name: str, text: str) -> datetime:
    """The moment that a query names, in UTC. Raises ServiceError(INVALID_VALUE) for what is none."""
    try:
        return msgspec.convert(text, Moment).astimezone(UTC)
    except (msgspec.ValidationError, OverflowError) as error:
        raise invalid_value(name, NOT_A_MOMENT) from error


def require_ahead(field: str, moment: datetime | None, now: datetime, otherwise: str, clock: str = THE_CLOCK) -> None:
    """That a moment is still to come, and can be kept; None = there is none, which `otherwise` tells of.

    Raises ServiceError(INVALID_VALUE) that says what counts as now.
    """
    if moment is not None and not to_at(now) < to_at(moment) < NEVER_AT:
        ahead = f"must lie after {now_in_words(to_at(now), clock)} and before {LAST}"
        raise invalid_value(field, f"{ahead}; {otherwise}")


def require_span(start: datetime, end: datetime) -> None:
    """That something can lie from `from` up to and without `to`. Raises ServiceError(INVALID_VALUE) that says both."""
    if not start < end:
        both = f"from is {_shown(start)}, and to is {_shown(end)}"
        raise invalid_value("from", f"must lie before to: {both}. Send an earlier from, or a later to")


def _shown(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
