"""Moments: microseconds and datetimes say the same."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from app.rules.moments import NEVER_AT, to_at, to_datetime, to_rfc3339
from tests.rules.laws import LAW

moments = st.integers(0, NEVER_AT)


@LAW
@given(moments)
def test_round_trip(at: int) -> None:
    """A moment survives as a datetime and as text."""
    assert to_at(to_datetime(at)) == at
    assert to_at(datetime.fromisoformat(to_rfc3339(at))) == at
    assert to_rfc3339(at).endswith("Z")


@LAW
@given(moments, st.integers(-23, 23))
def test_zones_do_not_matter(at: int, hours: int) -> None:
    """The same instant in another zone is the same moment."""
    assert to_at(to_datetime(at).astimezone(timezone(timedelta(hours=hours)))) == at


def test_known_moment() -> None:
    """As the API shows it."""
    at = to_at(datetime(2026, 11, 23, 18, 0, 0, 1, tzinfo=UTC))
    assert to_rfc3339(at) == "2026-11-23T18:00:00.000001Z"
