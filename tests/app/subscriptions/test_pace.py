"""How many strangers of an environment are enrolled, however many come."""

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import ServiceError
from app.subscriptions.enrolling import AT_ONCE, PER_SECOND, Pace

TICKS = 1024
"""Of a second. What a tick gains is a float without a rounding, so that the laws hold to the last one."""
SECONDS = 60


def let_through(ticks: list[int]) -> list[tuple[float, bool]]:
    """The moments of attempts, one after each gap, and whether it was let through. AT_ONCE were before them, at 0."""
    now, environment_id, attempts = 0.0, uuid4(), list[tuple[float, bool]]()
    pace = Pace(lambda: now)
    for gap in [0] * AT_ONCE + ticks:
        now += gap / TICKS
        try:
            pace.take(environment_id)
        except ServiceError:
            attempts.append((now, False))
        else:
            attempts.append((now, True))
    return attempts


@given(st.lists(st.integers(0, TICKS // 20), max_size=80))
def test_who_is_refused_would_have_been_one_too_many(ticks: list[int]) -> None:
    """In each stretch of time AT_ONCE pass, and PER_SECOND for each second besides: not one more, and not one less."""
    passed = list[float]()
    for at, has_passed in let_through(ticks):
        is_too_many = any(
            len(passed) - first + 1 > AT_ONCE + (at - start) * PER_SECOND for first, start in enumerate(passed)
        )
        assert has_passed is not is_too_many
        if has_passed:
            passed.append(at)


@pytest.mark.parametrize("per_second", [51, 60, 100, 200, TICKS])
def test_no_crowd_is_so_thick_that_nobody_passes(per_second: int) -> None:
    """However far above the pace they come, the pace is kept."""
    moments = [TICKS * number // per_second for number in range(1, SECONDS * per_second + 1)]
    gaps = [moment - before for before, moment in zip([0, *moments], moments, strict=False)]
    passed = sum(has_passed for _, has_passed in let_through(gaps)[AT_ONCE:])
    assert SECONDS * PER_SECOND - 1 <= passed <= SECONDS * PER_SECOND
