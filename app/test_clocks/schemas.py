"""Bodies of the routes of test clocks."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from app.test_clocks.store import ClockRow
from app.web.fields import Moment

MAX_STEP_DAYS = 3_653
"""Ten years: how far a clock may be moved on at once."""


class Freeze(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where time is to stand still; left out: now."""

    at: Moment | None = None


class Advance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far the clock is to be moved on: to a moment, or by so many seconds. Exactly one of the two."""

    to: Moment | None = None
    by_seconds: Annotated[int, Meta(ge=1, le=MAX_STEP_DAYS * 86_400)] | None = None


class Reset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request that says all in its path."""


class TestClockBody(msgspec.Struct, frozen=True):
    """What time it is in an environment."""

    frozen_at: datetime | None
    """Null: it goes by the real time."""
    advancing_to: datetime | None
    """Where the clock is on its way; null: everything that was due is posted."""


class AdvancedBody(msgspec.Struct, frozen=True):
    """Where the clock stands by now. `accounts`: at how many of them something fell due."""

    frozen_at: datetime
    accounts: int


def show_clock(row: ClockRow | None) -> TestClockBody:
    """A clock, or that there is none."""
    return TestClockBody(None, None) if row is None else TestClockBody(row.frozen_at, row.advancing_to)
