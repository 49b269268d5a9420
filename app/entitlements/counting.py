"""How an account's units are counted from now on, pure: by which calendar, and in which period."""

from datetime import datetime

import msgspec

from app.rules.moments import to_at
from app.rules.periods import Calendar, Counting, IntervalUnit, calendar_month, period_containing


class Billing(msgspec.Struct, frozen=True):
    """The interval of a subscription and where it began."""

    anchor_at: datetime
    unit: IntervalUnit
    count: int


def counting_from(before: Counting | None, billing: Billing | None, zone: str, at: int) -> Counting:
    """The subscription's periods, or without one the calendar months of the billing zone.

    Where the calendar stays, so does the period: the flusher turns it, in its place in the stream.
    """
    calendar = calendar_month(zone)
    if billing is not None:
        calendar = Calendar(to_at(billing.anchor_at), billing.unit, billing.count, zone)
    if before is not None and before.calendar == calendar:
        return before
    return Counting(calendar, period_containing(calendar, at))
