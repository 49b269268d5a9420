"""Totals modulo 2^52 say the same as totals without a bound, as long as they are not too far apart."""

from hypothesis import given
from hypothesis import strategies as st

from app.rules.moments import NEVER_AT
from app.rules.totals import MAX_DISTANCE, MODULUS, available, distance, wrap
from tests.rules.laws import LAW

totals = st.one_of(st.integers(-(2**70), 2**70), st.integers(-3, 3).map(lambda n: n + 5 * MODULUS))
gaps = st.one_of(
    st.integers(-MODULUS // 2, MODULUS // 2 - 1), st.sampled_from([0, 1, -1, -MODULUS // 2, MODULUS // 2 - 1])
)


@LAW
@given(totals, gaps)
def test_distance(applied: int, gap: int) -> None:
    """The signed distance of wrapped totals is the difference of the totals."""
    assert distance(wrap(applied + gap), wrap(applied)) == gap


@LAW
@given(totals, gaps, st.integers(-NEVER_AT, NEVER_AT))
def test_available(applied: int, gap: int, base: int) -> None:
    """What can be spent is base - (accepted - applied), whatever wrapped in between."""
    assert available(base, wrap(applied + gap), wrap(applied)) == base - gap


@LAW
@given(totals, st.integers(0, 10**15))
def test_wrapping_adds_up(total: int, cost: int) -> None:
    """Adding to a wrapped total and wrapping again is wrapping the sum, within what a double holds."""
    assert wrap(wrap(total) + cost) == wrap(total + cost)
    assert wrap(total) + cost <= NEVER_AT


def test_bounds_leave_room() -> None:
    """The largest cost on top of the largest backlog still reads as a distance ahead."""
    assert MAX_DISTANCE + 10**15 < MODULUS // 2
