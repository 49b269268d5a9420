"""Random lives of subscriptions keep every law: however the flusher lags, and however rarely somebody looks (46-52)."""

from collections import Counter
from functools import cache

import pytest

from app.rules.lifecycle import TABLE, Action, State
from tests.flusher.subscribing_laws import LAWS
from tests.flusher.subscribing_programs import Life, make_life

LIVES = 100
REACHED = {*Action, "create", "replace", "fall_back"} - {Action.START}
KINDS = {
    "grant",
    "usage",
    "expiry",
    "rollover",
    "overage_billed",
    "debt_payment",
    "pause",
    "resume",
    "void",
    "adjustment",
}


@cache
def life_of(seed: int) -> Life:
    """Each life is made once."""
    return make_life(seed)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_every_life_keeps_the_law(law: object) -> None:
    """Of all lives, in their order; the number of the first that breaks it is shown."""
    assert callable(law)
    for seed in range(LIVES):
        try:
            law(life_of(seed))
        except AssertionError as error:
            message = f"life {seed}: {error}"
            raise AssertionError(message) from error


def test_lives_are_not_idle() -> None:
    """Every action, every arrow of the table and every kind of transaction is met; and so are refusals."""
    lives = [life_of(seed) for seed in range(LIVES)]
    actions = Counter(change.action for life in lives for change in life.rows.history)
    assert actions.keys() >= REACHED, REACHED - actions.keys()
    pairs = {(change.state_before, change.state_after) for life in lives for change in life.rows.history}
    assert pairs >= {(state, after) for state in State for after in TABLE[state].values() if state is not after}
    assert {t.kind for life in lives for t in life.rows.transactions} >= KINDS
    assert any(outcome.refused for life in lives for outcome in life.rows.outcomes.values())
