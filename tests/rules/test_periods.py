"""Periods: anchored calendars, with python-dateutil as an independent judge."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from dateutil.relativedelta import relativedelta
from dateutil.tz import resolve_imaginary
from hypothesis import assume, given, settings
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
    ZoneInfo("America/Havana"),  # where they move at midnight
)
STEPS = {
    IntervalUnit.DAY: lambda n: relativedelta(days=n),
    IntervalUnit.WEEK: lambda n: relativedelta(weeks=n),
    IntervalUnit.MONTH: lambda n: relativedelta(months=n),
    IntervalUnit.YEAR: lambda n: relativedelta(years=n),
}
HALF_HOUR = timedelta(minutes=30)
anchors = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds of local time
zones, units, counts = st.sampled_from(ZONES), st.sampled_from(IntervalUnit), st.integers(1, 13)
intervals = st.tuples(units, counts)


def clock_changes(zone: ZoneInfo, years: range) -> list[datetime]:
    """When clocks of a zone change, in UTC."""
    first, days = datetime(years.start, 1, 1, tzinfo=UTC), 365 * len(years)
    halves = [first + number * HALF_HOUR for number in range(48 * days)]
    offsets = [half.astimezone(zone).utcoffset() for half in halves]
    return [half for half, (before, after) in zip(halves[1:], pairwise(offsets), strict=True) if before != after]


CHANGES = {zone: clock_changes(zone, range(2027, 2031)) for zone in ZONES}
around_changes = st.sampled_from([zone for zone in ZONES if CHANGES[zone]]).flatmap(
    lambda zone: st.tuples(
        st.sampled_from(CHANGES[zone]).flatmap(
            lambda change: st.integers(-7_300, 7_300).map(lambda seconds: change + timedelta(seconds=seconds))
        ),
        st.just(zone),
    )
)
"""Anchors in the hours before and after a change of clocks, many of them in the hour that comes twice."""


def nth_by_dateutil(anchor_at: datetime, unit: IntervalUnit, steps: int, zone: ZoneInfo) -> datetime:
    """So many units after the anchor on the zone's calendar; what does not exist is later by what clocks leave out."""
    local = anchor_at.astimezone(zone)
    return resolve_imaginary((local + STEPS[unit](steps)).replace(fold=local.fold)).astimezone(UTC)


@LAW
@given(st.one_of(st.tuples(anchors, zones), around_changes), units, counts, st.integers(0, 60))
def test_against_dateutil(anchor: tuple[datetime, ZoneInfo], unit: IntervalUnit, count: int, n: int) -> None:
    """The n-th boundary is n times count units after the anchor on the billing zone's own calendar."""
    assert boundary(anchor[0], unit, count, n, anchor[1]) == nth_by_dateutil(anchor[0], unit, count * n, anchor[1])


@settings(LAW, max_examples=60)
@given(around_changes, st.integers(1, 3))
def test_every_change_of_clocks_is_come_by(anchor: tuple[datetime, ZoneInfo], count: int) -> None:
    """47: days and weeks that begin about one of them come by all others, and are where dateutil has them."""
    anchor_at, zone = anchor
    for unit, most in ((IntervalUnit.DAY, 800), (IntervalUnit.WEEK, 120)):
        starts = [boundary(anchor_at, unit, count, n, zone) for n in range(most // count)]
        assert starts == [nth_by_dateutil(anchor_at, unit, count * n, zone) for n in range(len(starts))]
        assert all(start < end for start, end in pairwise(starts))


@LAW
@given(anchors, zones, units, counts)
def test_periods_tile(anchor_at: datetime, zone: ZoneInfo, unit: IntervalUnit, count: int) -> None:
    """47: each period ends where the next one begins, later than it began."""
    starts = [boundary(anchor_at, unit, count, n, zone) for n in range(40)]
    assert all(start < end for start, end in pairwise(starts))
    assert all(start.tzinfo is UTC for start in starts)


@LAW
@given(st.one_of(st.tuples(anchors, zones), around_changes), units, counts)
def test_first_period_begins_at_the_anchor(anchor: tuple[datetime, ZoneInfo], unit: IntervalUnit, count: int) -> None:
    """Boundary 0 is the anchor."""
    assert boundary(anchor[0], unit, count, 0, anchor[1]) == anchor[0]


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


def test_from_the_hour_that_comes_twice_into_one_that_does_not_come() -> None:
    """Who began in the second 2:30 of October has their day in March from 3:30 on, as who began in the first."""
    for hour in (0, 1):
        anchor_at = datetime(2026, 10, 25, hour, 30, tzinfo=UTC)
        gap = boundary(anchor_at, IntervalUnit.DAY, 1, 154, BERLIN)
        assert gap == datetime(2027, 3, 28, 1, 30, tzinfo=UTC)
