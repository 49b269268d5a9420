"""How an account's units are counted from now on, pure: by which calendar, and in which period."""

from app.rules.periods import Counting, Period, calendar_month, period_containing


def counting_from(before: Counting | None, subscribed: Period | None, zone: str, at: int) -> Counting:
    """In the base subscription's present period, or without one in the calendar months of the billing zone.

    Where the calendar stays, so does the period: the flusher turns it, in its place in the stream.
    """
    if subscribed is not None:
        return Counting(None, subscribed)
    calendar = calendar_month(zone)
    if before is not None and before.calendar == calendar:
        return before
    return Counting(calendar, period_containing(calendar, at))
