"""What clients are told of refusals."""

import re
from pathlib import Path

import pytest

from app.orders.outcomes import Refused
from app.rules.actions import Refusal
from app.rules.lifecycle import BY_TIME, TABLE, Action, IllegalMove, State
from app.subscriptions.service import WHY, refusal
from app.wire.codes import Code

PAGE = Path(__file__).parents[3] / "docs/errors.md"
OF_CUSTOMERS = {"from_free_plan", "leaving", "to_free_plan"}
OF_PAYMENTS = {"already_followed", "already_renewed", "already_scheduled"}
"""What app/subscriptions/book.py refuses itself."""
OURS = {"schedule_change", "unschedule", "cancel_at_period_end"}
"""Actions that clients ask for in other words."""


def test_every_reason_has_its_words() -> None:
    """In the answer and on the page; and there are no words for what is never said."""
    assert set(WHY) == {reason.value for reason in Refusal} | OF_CUSTOMERS | OF_PAYMENTS
    page = PAGE.read_text()
    assert [why for why in WHY if f"| `{why}` |" not in page] == []


def test_an_illegal_move_names_the_calls_that_are_possible() -> None:
    """As a client makes them, not as the table calls them."""
    legal = [action.value for action in IllegalMove(State.PAUSED, Action.PAUSE).legal]
    context = {"state": "paused", "action": "pause", "legal": legal}
    error = refusal(Refused(Code.ILLEGAL_MOVE, context=context))
    assert error.detail.endswith('possible: taking back its scheduled-change, resume, cancel (with "at": "now").')
    assert not {*legal} & {action.value for action in BY_TIME}


@pytest.mark.parametrize("state", State)
def test_no_name_of_ours_is_told(state: State) -> None:
    """Whatever is refused, and whatever is possible instead: clients have no call `cancel_at_period_end`."""
    for action in set(Action) - BY_TIME - TABLE[state].keys():
        legal = [each.value for each in IllegalMove(state, action).legal]
        context = {"state": state.value, "action": action.value, "legal": legal}
        words = set(re.split(r"\W+", refusal(Refused(Code.ILLEGAL_MOVE, context=context)).detail))
        assert not words & OURS, (action, words)
