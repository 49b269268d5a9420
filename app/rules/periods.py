"""Anchored calendars: the n-th period is computed from the anchor, never from the period before it.

31 January + 1 month = the last of February, + 2 months = 31 March. Periods are half-open, [start, end), so they tile.
Calendar arithmetic happens in the billing zone; moments go in and come out in UTC.
"""

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from zoneinfo import ZoneInfo

import msgspec

from app.rules.moments import NEVER_AT, to_at, to_datetime


class IntervalUnit(StrEnum):
    """Calendar units of a billing or grant interval."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


class Calendar(msgspec.Struct, frozen=True):
    """Which periods a customer's units are counted in."""

    anchor_at: int
    """Microseconds; where period 0 begins."""
    unit: IntervalUnit
    count: int
    zone: str
    """The billing zone's name."""


class Period(msgspec.Struct, frozen=True):
    """[start, end) in microseconds."""

    start_at: int
    end_at: int


class Counting(msgspec.Struct, frozen=True):
    """How a customer's units are counted, and the present period."""

    calendar: Calendar | None
    """None = the customer's subscription begins the next period, and until then this one goes on, also past its end."""
    period: Period

    @property
    def turns_at(self) -> int:
        """When the period ends by itself."""
        return NEVER_AT if self.calendar is None else self.period.end_at


def calendar_month(zone: str) -> Calendar:
    """The months of a zone's own calendar."""
    return Calendar(to_at(datetime(2000, 1, 1, tzinfo=ZoneInfo(zone))), IntervalUnit.MONTH, 1, zone)


def period_containing(calendar: Calendar, at: int) -> Period:
    """The period of the calendar that a moment lies in, before the anchor too."""
    return _locate(calendar, at)[1]


def period_number(calendar: Calendar, at: int) -> int:
    """The number of the period that a moment lies in: 0 begins at the anchor, and those before it are negative."""
    return _locate(calendar, at)[0]


def _locate(calendar: Calendar, at: int) -> tuple[int, Period]:
    """Number and period."""
    anchor_at, zone = to_datetime(calendar.anchor_at), ZoneInfo(calendar.zone)

    @cache  # where very many renew at once, boundaries are much of what takes time
    def start(n: int) -> int:
        return to_at(boundary(anchor_at, calendar.unit, calendar.count, n, zone))

    n = _roughly(calendar, anchor_at.astimezone(zone), to_datetime(at).astimezone(zone))
    while start(n) > at:
        n -= 1
    while start(n + 1) <= at:
        n += 1
    return n, Period(min(start(n), NEVER_AT), min(start(n + 1), NEVER_AT))


def nth_period(calendar: Calendar, n: int) -> Period:
    """The period with this number."""
    return Period(start_of(calendar, n), start_of(calendar, n + 1))


def start_of(calendar: Calendar, n: int) -> int:
    """Where the period with this number begins, in microseconds."""
    anchor_at, zone = to_datetime(calendar.anchor_at), ZoneInfo(calendar.zone)
    return min(to_at(boundary(anchor_at, calendar.unit, calendar.count, n, zone)), NEVER_AT)


def days_after(at: int, days: int, zone: str) -> int:
    """The same time of day so many days later on a zone's own calendar; earlier where they are negative."""
    return start_of(Calendar(at, IntervalUnit.DAY, 1, zone), days)


def _roughly(calendar: Calendar, anchor: datetime, moment: datetime) -> int:
    """Which period it is by whole days or months, which may be one too many or too few."""
    days, months = (moment.date() - anchor.date()).days, 12 * (moment.year - anchor.year) + moment.month - anchor.month
    match calendar.unit:
        case IntervalUnit.DAY:
            passed = days
        case IntervalUnit.WEEK:
            passed = days // 7
        case IntervalUnit.MONTH:
            passed = months
        case IntervalUnit.YEAR:
            passed = months // 12
    return passed // calendar.count


def boundary(anchor_at: datetime, unit: IntervalUnit, count: int, n: int, zone: ZoneInfo) -> datetime:
    """Start of the n-th period (= end of the one before): the anchor plus n times `count` units, in UTC."""
    zoned = anchor_at.astimezone(zone)
    local = zoned.replace(tzinfo=None)
    steps = count * n
    match unit:
        case IntervalUnit.DAY:
            moved = local + timedelta(days=steps)
        case IntervalUnit.WEEK:
            moved = local + timedelta(weeks=steps)
        case IntervalUnit.MONTH:
            moved = _add_months(local, steps)
        case IntervalUnit.YEAR:
            moved = _add_months(local, 12 * steps)
    first = moved.replace(tzinfo=zone).astimezone(UTC)
    if not zoned.fold:
        return first
    # Of a time of day that comes twice, the anchor means the second. One that does not come at all is later by as much
    # as clocks go forward, whoever asks; there `fold` would mean the earlier one, which may be of the day before.
    return max(first, moved.replace(tzinfo=zone, fold=1).astimezone(UTC))


def _add_months(local: datetime, months: int) -> datetime:
    years, month_index = divmod(local.month - 1 + months, 12)
    year, month = local.year + years, month_index + 1
    return local.replace(year=year, month=month, day=min(local.day, monthrange(year, month)[1]))
