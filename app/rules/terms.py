"""What the terms of plans may say: how they are paid for, and for how long the credit lives that they grant."""

from enum import StrEnum

import msgspec

from app.rules.periods import IntervalUnit

_SHORTEST_DAYS = {IntervalUnit.DAY: 1, IntervalUnit.WEEK: 7, IntervalUnit.MONTH: 28, IntervalUnit.YEAR: 365}
_LONGEST_DAYS = {IntervalUnit.DAY: 1, IntervalUnit.WEEK: 7, IntervalUnit.MONTH: 31, IntervalUnit.YEAR: 366}


class PlanKind(StrEnum):
    """What a customer is on, or what goes beside it."""

    BASE = "base"
    ADDON = "addon"


class BillingMode(StrEnum):
    """A period is paid for before it begins, or after it has ended."""

    PREPAID = "prepaid"
    POSTPAID = "postpaid"


class Interval(msgspec.Struct, frozen=True):
    """So many units of the calendar."""

    unit: IntervalUnit
    count: int


def most_at_once(cycle: Interval, lifetime: Interval) -> int:
    """How many blocks that live so long there may be at once, where every cycle makes one.

    Never too few: months are taken as long as they get for a lifetime, and as short for a cycle.
    """
    lifetime_days = lifetime.count * _LONGEST_DAYS[lifetime.unit]
    if cycle.unit is lifetime.unit:
        return -(-lifetime.count // cycle.count)
    return -(-lifetime_days // (cycle.count * _SHORTEST_DAYS[cycle.unit]))
