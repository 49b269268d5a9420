"""What clients are told of refusals."""

from pathlib import Path

from app.orders.outcomes import Refused
from app.rules.actions import Refusal
from app.rules.lifecycle import BY_TIME, Action, IllegalMove, State
from app.subscriptions.service import WHY, refusal
from app.wire.codes import Code

PAGE = Path(__file__).parents[3] / "docs/errors.md"
OF_CUSTOMERS = {"already_renewed", "already_scheduled", "from_free_plan", "leaving", "to_free_plan"}
"""What app/subscriptions/book.py refuses itself."""


def test_every_reason_has_its_words() -> None:
    """In the answer and on the page; and there are no words for what is never said."""
    assert set(WHY) == {reason.value for reason in Refusal} | OF_CUSTOMERS
    page = PAGE.read_text()
    assert [why for why in WHY if f"| `{why}` |" not in page] == []


def test_an_illegal_move_names_the_calls_that_are_possible() -> None:
    """As a client makes them, not as the table calls them."""
    legal = [action.value for action in IllegalMove(State.PAUSED, Action.PAUSE).legal]
    context = {"state": "paused", "action": "pause", "legal": legal}
    error = refusal(Refused(Code.ILLEGAL_MOVE, context=context))
    assert error.detail.endswith('possible: taking back its scheduled-change, resume, cancel (with "at": "now").')
    assert not {*legal} & {action.value for action in BY_TIME}
