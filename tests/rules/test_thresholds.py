"""When credit is low, gone, or owed: laws over any states, then cases."""

from collections.abc import Sequence
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from app.rules.burndown import Block
from app.rules.moments import NEVER_AT
from app.rules.thresholds import (
    UNBOUNDED_MICRO,
    Crossing,
    Depleted,
    Holding,
    Low,
    Overdrawn,
    Threshold,
    crossings,
    granted_in,
    level_of,
    room_micro,
)
from tests.rules.laws import LAW

thresholds = st.lists(
    st.one_of(
        st.builds(Threshold, amount_micro=st.integers(1, 40)),
        st.builds(Threshold, percent=st.integers(1, 99)),
    ),
    max_size=4,
    unique=True,
)
holdings = st.builds(Holding, st.integers(-20, 100), st.integers(0, 100), st.sampled_from([0, 0, 5]))


def kinds(crossed: Sequence[Crossing]) -> list[object]:
    """What was crossed, without where."""
    return [crossing.threshold if isinstance(crossing, Low) else type(crossing) for crossing in crossed]


@LAW
@given(thresholds, st.lists(holdings, min_size=2, max_size=8))
def test_each_is_told_once_and_again_only_after_it_was_over(wanted: list[Threshold], states: list[Holding]) -> None:
    """Between two words of the same thing there is a state in which it was not so."""
    for about in [*wanted, Depleted, Overdrawn]:
        told = False
        for before, after in pairwise(states):
            is_so = _is_so(about, after)
            if about in kinds(crossings(wanted, before, after)):
                assert is_so
                assert not told
                told = True
            told = told and is_so


def _is_so(about: object, state: Holding) -> bool:
    if isinstance(about, Threshold):
        return state.total_micro <= level_of(about, state.granted_micro)
    return state.total_micro <= 0 if about is Depleted else state.debt_micro > 0


@LAW
@given(thresholds, holdings, st.integers(0, 120))
def test_within_the_room_nothing_is_crossed(wanted: list[Threshold], before: Holding, spent: int) -> None:
    """And where the room ends, something is."""
    after = structs.replace(before, total_micro=before.total_micro - spent)
    is_within = spent < room_micro(wanted, before)
    assert bool(crossings(wanted, before, after)) != is_within or not spent


@LAW
@given(thresholds, holdings, holdings, holdings)
def test_a_stop_between_tells_no_less(wanted: list[Threshold], first: Holding, second: Holding, third: Holding) -> None:
    """What is told from the first to the third is told on the way too."""
    parts = [*crossings(wanted, first, second), *crossings(wanted, second, third)]
    assert set(kinds(crossings(wanted, first, third))) <= set(kinds(parts))


@pytest.mark.parametrize(
    ("total", "granted", "expected"),
    [
        (51, 100, []),
        (50, 100, ["50%"]),
        (31, 100, ["50%"]),
        (30, 100, ["50%", "30"]),
        (20, 100, ["50%", "30", "20%"]),
        (0, 0, ["30", "50%", "20%", "depleted"]),
        (-5, 0, ["30", "50%", "20%", "depleted", "overdrawn"]),
        (25, 40, ["30"]),
    ],
)
def test_crossings_come_as_credit_goes_by_them(total: int, granted: int, expected: list[str]) -> None:
    """The highest level first, wherever a percentage puts it; then nothing is left, then there is debt."""
    wanted = [Threshold(percent=20), Threshold(amount_micro=30), Threshold(percent=50)]
    after = Holding(total, granted, max(0, -total))
    crossed = crossings(wanted, Holding(100, 100, 0), after)
    names = {Depleted: "depleted", Overdrawn: "overdrawn"}
    shown = [names.get(type(one)) or _show(one) for one in crossed]
    assert shown == expected


def _show(crossing: Crossing) -> str:
    assert isinstance(crossing, Low)
    threshold = crossing.threshold
    return f"{threshold.percent}%" if threshold.percent else str(threshold.amount_micro)


def test_a_level_is_rounded_down() -> None:
    """A third of 100, and of nothing nothing."""
    assert [level_of(Threshold(percent=33), granted) for granted in (0, 2, 100, 101)] == [0, 0, 33, 33]
    assert level_of(Threshold(amount_micro=7), 100) == 7


def test_room_without_a_level_below() -> None:
    """Who has nothing can spend any amount without news."""
    assert room_micro([Threshold(amount_micro=9)], Holding(0, 0, 0)) == UNBOUNDED_MICRO
    assert room_micro([Threshold(amount_micro=9)], Holding(9, 9, 0)) == 9
    assert room_micro([Threshold(amount_micro=9)], Holding(10, 10, 0)) == 1


def test_only_what_is_left_of_counts_as_granted() -> None:
    """Not what is spent, and not what is to come."""
    whole = Block(UUID(int=1), 10, 100, paid=False, known_revision=1, effective_at=0, expires_at=NEVER_AT, granted_at=0)
    whole.granted_micro = 10
    others = [structs.replace(whole, **change) for change in ({"remaining_micro": 1}, {"remaining_micro": 0})]
    assert granted_in([whole, *others, structs.replace(whole, is_scheduled=True)]) == 20
