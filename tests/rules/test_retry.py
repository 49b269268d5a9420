"""When a webhook is sent again: laws over any failure, then the table, then what Retry-After may say."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rules.retry import (
    JITTER_RANGE,
    MAX_RETRY_AFTER_SECONDS,
    SCHEDULE_SECONDS,
    next_attempt,
    read_retry_after,
)
from tests.rules.laws import LAW

MICRO = 1_000_000
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
DATE = "Fri, 27 Nov 2026 12:00:00 GMT"

attempts = st.integers(1, len(SCHEDULE_SECONDS) - 1)
failed_moments = st.integers(0, 2**53)
jitters = st.integers(0, JITTER_RANGE)
asked = st.none() | st.integers(-5, 10**9)
moments = st.datetimes(datetime(2020, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone


@LAW
@given(attempts, failed_moments, jitters, asked)
def test_a_wait_lies_between_what_was_asked_and_a_tenth_more(
    attempt: int, failed_at: int, jitter: int, retry_after: int | None
) -> None:
    """Never before the schedule, never before the moment that the answer named, never later than a tenth after both."""
    at = next_attempt(attempt, failed_at, jitter, retry_after)
    assert at is not None
    longest = max(SCHEDULE_SECONDS[attempt], min(retry_after or 0, MAX_RETRY_AFTER_SECONDS)) * MICRO
    assert failed_at + longest <= at <= failed_at + longest + longest // 10


@LAW
@given(attempts, failed_moments, jitters, jitters, asked)
def test_more_jitter_is_later(attempt: int, failed_at: int, jitter: int, other: int, retry_after: int | None) -> None:
    """The random number spreads the attempts in its own order, and one that differs enough parts them."""
    first, second = (next_attempt(attempt, failed_at, one, retry_after) for one in sorted((jitter, other)))
    assert first is not None
    assert second is not None
    assert first <= second
    assert abs(jitter - other) < 2 or first < second


@LAW
@given(st.integers(len(SCHEDULE_SECONDS), 100), failed_moments, jitters, asked)
def test_after_the_last_attempt_there_is_none(
    attempt: int, failed_at: int, jitter: int, retry_after: int | None
) -> None:
    """Whatever the answer asks for."""
    assert next_attempt(attempt, failed_at, jitter, retry_after) is None


def test_the_schedule() -> None:
    """Ten attempts; each wait longer than the one before, and three days and a bit in all."""
    waits = [next_attempt(attempt, 0, 0, None) for attempt in range(1, 11)]
    seconds = [None if wait is None else wait // MICRO for wait in waits]
    assert seconds == [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400, None]
    assert timedelta(days=3) < timedelta(seconds=sum(SCHEDULE_SECONDS)) < timedelta(days=3.5)


@pytest.mark.parametrize(
    ("field", "date", "expected"),
    [
        (None, None, None),
        ("", None, None),
        ("120", None, 120),
        (" 0120 ", None, 120),
        ("0", None, 0),
        ("86401", None, MAX_RETRY_AFTER_SECONDS),
        ("9" * 5_000, None, MAX_RETRY_AFTER_SECONDS),
        ("-1", None, None),
        ("1.5", None, None),
        ("soon", None, None),
        ("٣", None, None),
        ("Fri, 27 Nov 2026 12:01:00 GMT", None, 60),
        ("Fri, 27 Nov 2026 12:01:00", None, 60),
        ("Fri, 27 Nov 2026 11:00:00 GMT", None, 0),
        ("Sat, 28 Nov 2027 12:00:00 GMT", None, MAX_RETRY_AFTER_SECONDS),
        ("Fri, 27 Nov 2026 09:01:00 GMT", "Fri, 27 Nov 2026 09:00:00 GMT", 60),
        ("Fri, 27 Nov 2026 12:01:00 GMT", "yesterday", 60),
        ("Fri, 27 Nov 99999999999999999999 12:01:00 GMT", None, None),
    ],
)
def test_what_retry_after_says(field: str | None, date: str | None, expected: int | None) -> None:
    """Whole seconds, or a moment by the other side's clock; anything else says nothing."""
    assert read_retry_after(field, date, NOW) == expected


@LAW
@given(st.text() | st.just(DATE), st.none() | st.text() | st.just(DATE))
def test_any_text_is_read_without_an_error(field: str, date: str | None) -> None:
    """What the other side writes cannot break anything, and asks for no more than a day."""
    seconds = read_retry_after(field, date, NOW)
    assert seconds is None or 0 <= seconds <= MAX_RETRY_AFTER_SECONDS


@LAW
@given(moments, st.integers(0, MAX_RETRY_AFTER_SECONDS), moments)
def test_a_moment_counts_by_the_clock_that_set_it(sent: datetime, seconds: int, now: datetime) -> None:
    """However wrong the other side's clock is, the wait is the one it meant."""
    sent = sent.replace(microsecond=0)
    until = format_datetime(sent + timedelta(seconds=seconds), usegmt=True)
    assert read_retry_after(until, format_datetime(sent, usegmt=True), now) == seconds
