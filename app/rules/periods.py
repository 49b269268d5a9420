"""Anchored calendars: the n-th period is computed from the anchor, never from the period before it.

31 January + 1 month = the last of February, + 2 months = 31 March. Periods are half-open, [start, end), so they tile.
Calendar arithmetic happens in the billing zone; moments go in and come out in UTC.
"""

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo


class IntervalUnit(StrEnum):
    """Calendar units of a billing or grant interval."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


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
    # Of a time of day that comes twice, the anchor says which one is meant.
    return moved.replace(tzinfo=zone, fold=zoned.fold).astimezone(UTC)


def _add_months(local: datetime, months: int) -> datetime:
    years, month_index = divmod(local.month - 1 + months, 12)
    year, month = local.year + years, month_index + 1
    return local.replace(year=year, month=month, day=min(local.day, monthrange(year, month)[1]))
