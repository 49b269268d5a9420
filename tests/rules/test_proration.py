"""Proration: nothing is made by rounding, and parts sum to the whole."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rules.proration import Share, prorated_difference, split_by_largest_remainder, weights_of
from app.rules.subscriptions import is_upgrade
from tests.rules.laws import LAW
from tests.rules.subscribing import YEARLY, amounts, grant, plan

wholes = st.integers(1, 366 * 86_400_000_000)


@st.composite
def shares(draw: st.DrawFn) -> Share:
    """Of a cycle that may have run for any time, none and all of it included."""
    whole = draw(wholes)
    return Share(draw(amounts), draw(st.integers(0, whole)), whole)


some_shares = st.lists(shares(), max_size=4)


@LAW
@given(st.integers(0, 10**15), st.lists(st.integers(0, 10**30), min_size=1, max_size=8))
def test_parts_sum_to_the_whole(amount: int, weights: list[int]) -> None:
    """50: exactly, each within one micro-credit of its share, none for what weighs nothing beside others."""
    parts = split_by_largest_remainder(amount, weights)
    assert sum(parts) == amount
    if any(weights):
        weight = sum(weights)
        assert all(abs(part * weight - amount * own) < weight for part, own in zip(parts, weights, strict=True))
        assert all(not part for part, own in zip(parts, weights, strict=True) if not own)
    heavier = sorted(zip(weights, parts, strict=True))
    assert all(less[1] <= more[1] for less, more in pairwise(heavier) if less[0] < more[0])


def test_nothing_is_split_over_nobody() -> None:
    """A plan without grants has no parts."""
    assert split_by_largest_remainder(0, []) == []
    assert split_by_largest_remainder(5, [0, 0]) == [3, 2]
    assert split_by_largest_remainder(100, [1, 1, 1]) == [34, 33, 33]


@LAW
@given(some_shares, some_shares)
def test_there_and_back_makes_nothing(old: list[Share], new: list[Share]) -> None:
    """The difference is exact but for one micro-credit, and never rounded up."""
    there, back = prorated_difference(old, new), prorated_difference(new, old)
    assert there + back in (-1, 0)
    assert prorated_difference(old, old) == 0


@LAW
@given(st.lists(amounts, min_size=1, max_size=10), wholes, st.data())
def test_changes_within_one_cycle_never_give_more_than_the_highest(
    plans: list[int], whole: int, data: st.DataObject
) -> None:
    """50: whatever is changed to whatever and when, the sum is the mean over time, rounded down."""
    remain = sorted(data.draw(st.lists(st.integers(0, whole), min_size=len(plans), max_size=len(plans))), reverse=True)
    sum_micro = plans[0]
    for (old, new), remaining in zip(pairwise(plans), remain[1:], strict=True):
        sum_micro += prorated_difference([Share(old, remaining, whole)], [Share(new, remaining, whole)])
        assert sum_micro <= max(plans)
    held = [before - after for before, after in pairwise([whole, *remain[1:], 0])]
    mean = sum(amount * time for amount, time in zip(plans, held, strict=True))
    assert mean - len(plans) * whole < sum_micro * whole <= mean


@LAW
@given(some_shares)
def test_weights_are_in_proportion(parts: list[Share]) -> None:
    """Two shares beside each other are as their worth."""
    for (one, weight), (other, beside) in pairwise(zip(parts, weights_of(parts), strict=True)):
        mine = one.amount_micro * one.remaining_microseconds * other.whole_microseconds
        its = other.amount_micro * other.remaining_microseconds * one.whole_microseconds
        assert weight * its == beside * mine


@pytest.mark.parametrize(
    ("monthly", "yearly", "upgrade"), [(1_000, 12_000, True), (1_000, 11_999, False), (1_001, 12_000, False)]
)
def test_what_is_an_upgrade(monthly: int, yearly: int, upgrade: bool) -> None:  # noqa: FBT001 - a table
    """By the credit that the plans give over time, however they cut it; what is given once does not count."""
    old, new = plan(1, grant(1, monthly), grant(2, 10**9, None)), plan(2, grant(3, yearly, YEARLY))
    assert is_upgrade(old, new) is upgrade
