"""States and actions: the table, what is said where it has no answer, and its picture."""

import re
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rules.entitlement import Standing, standing_of
from app.rules.lifecycle import BY_TIME, TABLE, TERMINAL, Action, IllegalMove, State, diagram, legal_actions, move
from tests.rules.laws import LAW

PAGE = Path(__file__).parents[2] / "docs/subscriptions.md"


@pytest.mark.parametrize(("state", "action"), list(product(State, Action)))
def test_a_move_is_in_the_table_or_refused(state: State, action: Action) -> None:
    """51: there is no third way; and a client is told of exactly what it may do."""
    if action in TABLE[state]:
        assert move(state, action) is TABLE[state][action]
        assert (action in legal_actions(state)) is (action not in BY_TIME)
        return
    with pytest.raises(IllegalMove) as refused:
        move(state, action)
    assert (refused.value.state, refused.value.action) == (state, action)
    assert refused.value.legal == legal_actions(state)
    assert action not in legal_actions(state)
    assert state in str(refused.value)


@LAW
@given(st.lists(st.sampled_from(Action), max_size=30))
def test_terminal_is_terminal(actions: list[Action]) -> None:
    """51: whatever comes, what has ended stays ended."""
    state = State.SCHEDULED
    for action in actions:
        before = state
        state = TABLE[state].get(action, state)
        assert before not in TERMINAL or state is before
    assert all(not TABLE[end] for end in TERMINAL)


def test_every_state_is_reached_and_left() -> None:
    """From the first one; a client can end everything that has not ended."""
    reached, found = {State.SCHEDULED}, set[State]()
    while found != reached:
        found = set(reached)
        reached |= {following for state in found for following in TABLE[state].values()}
    assert reached == set(State)
    assert all(TABLE[state][Action.CANCEL] is State.CANCELED for state in set(State) - TERMINAL)


@pytest.mark.parametrize("state", list(State))
def test_standing(state: State) -> None:
    """What checks say of a subscription names states that there are."""
    not_in_order = {"paused": Standing.SUBSCRIPTION_PAUSED, "overdue": Standing.SUBSCRIPTION_OVERDUE}
    standing = standing_of(state, usable_while_paused=False, allow_usage_while_overdue=False)
    assert standing is not_in_order.get(state, Standing.OK)


def test_the_message_says_what_is_possible() -> None:
    """Of what has ended too."""
    assert str(IllegalMove(State.PAUSED, Action.RENEW)) == (
        "renew is not possible while the subscription is paused; possible: unschedule, resume, cancel"
    )
    assert str(IllegalMove(State.EXPIRED, Action.RENEW)).endswith("possible: nothing more")


def test_the_picture_shows_the_table() -> None:
    """Every move once, and the page has the picture that the table gives."""
    arrows = re.findall(r"(\w+) --> (\w+): (.+)", diagram())
    shown = [(before, action, after) for before, after, actions in arrows for action in actions.split(", ")]
    moves = [(state, action, after) for state, known in TABLE.items() for action, after in known.items()]
    assert sorted(shown) == sorted(moves)
    assert len(arrows) == len({(before, after) for before, after, _ in arrows})
    block = re.search(r"```mermaid\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert block is not None
    assert block[1] == diagram(), "Put what `app.rules.lifecycle.diagram` writes into docs/subscriptions.md."
