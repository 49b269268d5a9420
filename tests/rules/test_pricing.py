"""Prices: exact rationals, rounded once."""

from fractions import Fraction
from math import floor

from hypothesis import given
from hypothesis import strategies as st

from app.rules.credits import MAX_UNITS_MICRO, MICRO
from app.rules.pricing import FlatPrice, PerUnitPrice, Price, cost_micro
from tests.rules.laws import LAW

units = st.integers(0, MAX_UNITS_MICRO)
amounts = st.integers(0, 10**15)
per_unit = st.builds(PerUnitPrice, amounts, st.one_of(st.just(1), st.integers(1, 10**9)))
prices = st.one_of(st.builds(FlatPrice, amounts), per_unit)


@LAW
@given(per_unit, units)
def test_half_up_against_fractions(price: PerUnitPrice, units_micro: int) -> None:
    """A price per unit costs units times amount / per, to the nearest micro-credit, halves up."""
    exact = Fraction(units_micro * price.amount_micro, price.per * MICRO)
    assert cost_micro(price, units_micro) == floor(exact + Fraction(1, 2))


@LAW
@given(prices, units, units)
def test_more_units_never_cost_less(price: Price, some: int, more: int) -> None:
    """Cost is monotone in units."""
    assert cost_micro(price, min(some, more)) <= cost_micro(price, max(some, more))


@LAW
@given(prices)
def test_nothing_costs_nothing(price: Price) -> None:
    """No units, no cost, flat or not."""
    assert cost_micro(price, 0) == 0


@LAW
@given(amounts, st.integers(1, MAX_UNITS_MICRO))
def test_flat(amount_micro: int, units_micro: int) -> None:
    """A flat price is the same for every event."""
    assert cost_micro(FlatPrice(amount_micro), units_micro) == amount_micro


@LAW
@given(per_unit, units, units)
def test_splitting_shifts_at_most_a_rounding(price: PerUnitPrice, first: int, second: int) -> None:
    """One event or two: the costs differ by no more than the one rounding, a single micro-credit."""
    apart = cost_micro(price, first) + cost_micro(price, second)
    assert abs(cost_micro(price, first + second) - apart) <= 1


def test_published_example() -> None:
    """3 credits per 1,000,000 tokens: 500 tokens cost 0.0015 credits."""
    assert cost_micro(PerUnitPrice(3 * MICRO, 1_000_000), 500 * MICRO) == 1_500
