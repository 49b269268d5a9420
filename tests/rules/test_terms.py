"""How many blocks a grant leaves at once: never more than is said of it."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rules.periods import IntervalUnit, boundary
from app.rules.terms import Interval, most_at_once
from tests.rules.laws import LAW

ZONE = ZoneInfo("Europe/Berlin")
MOST_CYCLES = 60
anchors = st.datetimes(datetime(2024, 1, 1), datetime(2027, 12, 31)).map(lambda moment: moment.replace(tzinfo=UTC))  # noqa: DTZ001 - the zone is set
intervals = st.builds(Interval, st.sampled_from(IntervalUnit), st.integers(1, 40))


def after(moment: datetime, interval: Interval) -> datetime:
    """One interval later, by the calendar."""
    return boundary(moment, interval.unit, interval.count, 1, ZONE)


@LAW
@given(anchors, intervals, intervals)
def test_never_too_few(anchor: datetime, cycle: Interval, lifetime: Interval) -> None:
    """At the start of each cycle, counted by the calendar, there are at most so many."""
    starts = [boundary(anchor, cycle.unit, cycle.count, n, ZONE) for n in range(MOST_CYCLES)]
    ends = [after(start, lifetime) for start in starts]
    for index, start in enumerate(starts):
        alive = sum(end > start + timedelta(hours=2) for end in ends[: index + 1])  # clocks change by an hour
        assert alive <= most_at_once(cycle, lifetime)


@pytest.mark.parametrize(
    ("cycle", "lifetime", "expected"),
    [
        (("month", 1), ("month", 1), 1),
        (("month", 2), ("month", 1), 1),
        (("month", 1), ("month", 3), 3),
        (("month", 2), ("month", 3), 2),
        (("day", 1), ("day", 366), 366),
        (("day", 1), ("year", 1), 366),
        (("year", 1), ("month", 1), 1),
        (("week", 1), ("month", 1), 5),
    ],
)
def test_cases(cycle: tuple[str, int], lifetime: tuple[str, int], expected: int) -> None:
    """Of one unit it is exact."""
    made = [Interval(IntervalUnit(unit), count) for unit, count in (cycle, lifetime)]
    assert most_at_once(*made) == expected
