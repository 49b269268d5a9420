"""Periods: anchored calendars, with python-dateutil as an independent judge."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from dateutil.relativedelta import relativedelta
from hypothesis import assume, given
from hypothesis import strategies as st

from app.rules.moments import NEVER_AT, to_at
from app.rules.periods import Calendar, IntervalUnit, Period, boundary, calendar_month, period_containing
from tests.rules.laws import LAW

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = (
    ZoneInfo("UTC"),
    BERLIN,
    ZoneInfo("America/New_York"),
    ZoneInfo("Asia/Kolkata"),
    ZoneInfo("Pacific/Auckland"),
    ZoneInfo("Australia/Lord_Howe"),  # where clocks move by half an hour
)
STEPS = {
    IntervalUnit.DAY: lambda n: relativedelta(days=n),
    IntervalUnit.WEEK: lambda n: relativedelta(weeks=n),
    IntervalUnit.MONTH: lambda n: relativedelta(months=n),
    IntervalUnit.YEAR: lambda n: relativedelta(years=n),
}
anchors = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds of local time
zones, units, counts = st.sampled_from(ZONES), st.sampled_from(IntervalUnit), st.integers(1, 13)
intervals = st.tuples(units, counts)


@LAW
@given(anchors, zones, units, counts, st.integers(0, 60))
def test_against_dateutil(anchor_at: datetime, zone: ZoneInfo, unit: IntervalUnit, count: int, n: int) -> None:
    """The n-th boundary is n times count units after the anchor on the billing zone's own calendar."""
    local = anchor_at.astimezone(zone)
    assume(not local.fold)  # the hour that comes twice has its own test
    expected = (local.replace(tzinfo=None) + STEPS[unit](count * n)).replace(tzinfo=zone)
    assert boundary(anchor_at, unit, count, n, zone) == expected.astimezone(UTC)


@LAW
@given(anchors, zones, units, counts)
def test_periods_tile(anchor_at: datetime, zone: ZoneInfo, unit: IntervalUnit, count: int) -> None:
    """47: each period ends where the next one begins, later than it began."""
    starts = [boundary(anchor_at, unit, count, n, zone) for n in range(40)]
    assert all(start < end for start, end in pairwise(starts))
    assert all(start.tzinfo is UTC for start in starts)


@LAW
@given(anchors, zones, units, counts)
def test_first_period_begins_at_the_anchor(anchor_at: datetime, zone: ZoneInfo, unit: IntervalUnit, count: int) -> None:
    """Boundary 0 is the anchor."""
    assume(not anchor_at.astimezone(zone).fold)
    assert boundary(anchor_at, unit, count, 0, zone) == anchor_at


@pytest.mark.parametrize(
    "unit",
    list(IntervalUnit),
)
def test_anchor_in_the_repeated_hour(unit: IntervalUnit) -> None:
    """An anchor in the hour that comes twice, at its second time, is still the first boundary."""
    anchor_at = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    assert boundary(anchor_at, unit, 1, 0, BERLIN) == anchor_at


@LAW
@given(anchors, zones, intervals, st.integers(-40, 60), st.integers(-2, 2))
def test_the_period_that_a_moment_lies_in(
    anchor_at: datetime, zone: ZoneInfo, interval: tuple[IntervalUnit, int], n: int, nearby: int
) -> None:
    """47: of all periods it is the one that contains the moment, and at its end the next one begins."""
    unit, count = interval
    local = anchor_at.astimezone(zone)
    assume(not local.fold)
    at = to_at(anchor_at + (local.replace(tzinfo=None) + STEPS[unit](count * n) - local.replace(tzinfo=None))) + nearby
    calendar = Calendar(to_at(anchor_at), unit, count, str(zone))
    period = period_containing(calendar, at)
    starts = [
        to_at((local.replace(tzinfo=None) + STEPS[unit](count * k)).replace(tzinfo=zone).astimezone(UTC))
        for k in range(n - 2, n + 4)
    ]
    assume(starts[-1] < NEVER_AT)
    assert [Period(start, end) for start, end in pairwise(starts) if start <= at < end] == [period]
    assert period_containing(calendar, period.end_at).start_at == period.end_at
    assert period_containing(calendar, period.end_at - 1) == period


@LAW
@given(anchors, zones)
def test_calendar_months(at: datetime, zone: ZoneInfo) -> None:
    """From midnight of the first in the zone to midnight of the next first."""
    period = period_containing(calendar_month(str(zone)), to_at(at))
    local = at.astimezone(zone)
    first = datetime(local.year, local.month, 1, tzinfo=zone)
    following = (first.replace(tzinfo=None) + relativedelta(months=1)).replace(tzinfo=zone)
    assert period == Period(to_at(first.astimezone(UTC)), to_at(following.astimezone(UTC)))
    assert period.end_at - period.start_at > timedelta(days=27) // timedelta(microseconds=1)


MONTH_ENDS = """
anchor           | unit  | n  | boundary
2027-01-31 09:00 | month | 1  | 2027-02-28 09:00
2027-01-31 09:00 | month | 2  | 2027-03-31 09:00
2027-01-31 09:00 | month | 3  | 2027-04-30 09:00
2027-01-31 09:00 | month | 12 | 2028-01-31 09:00
2027-01-31 09:00 | month | 13 | 2028-02-29 09:00
2028-02-29 09:00 | year  | 1  | 2029-02-28 09:00
2028-02-29 09:00 | year  | 4  | 2032-02-29 09:00
2027-03-27 02:30 | day   | 1  | 2027-03-28 03:30
2027-03-27 02:30 | day   | 2  | 2027-03-29 02:30
2026-10-24 02:30 | day   | 1  | 2026-10-25 02:30
2026-10-24 09:00 | day   | 1  | 2026-10-25 09:00
2026-12-28 09:00 | week  | 1  | 2027-01-04 09:00
"""


@pytest.mark.parametrize("row", MONTH_ENDS.strip().splitlines()[1:])
def test_month_ends_and_clock_changes(row: str) -> None:
    """Berlin's calendar: months end where they end, and a time of day that does not exist comes an hour later."""
    anchor, unit, n, expected = (cell.strip() for cell in row.split("|"))
    anchor_at = datetime.fromisoformat(anchor).replace(tzinfo=BERLIN).astimezone(UTC)
    moved = boundary(anchor_at, IntervalUnit(unit), 1, int(n), BERLIN).astimezone(BERLIN)
    assert moved.strftime("%Y-%m-%d %H:%M") == expected
