"""Credit that comes back from a reservation can be spent at once, and not a moment longer than it lives."""

import pytest

from tests.ledger_model.actions import Action, EndHold, Flush, Grant, Hold, Use, Wait
from tests.ledger_model.test_voids_in_a_batch import check_read_again_at_once, play

TEN = Grant("ada", "ten", 10, 100, is_paid=False, lives=20)
HELD = Hold("ada", "hold1", "calls", 10, 50, enforce=True)
RELEASED = EndHold("ada", "hold1", "released")
USED = Use("ada", "use", "calls", 10, enforce=True)
OTHER = Grant("ada", "other", 3, 100, is_paid=False, lives=None)


def test_it_can_be_spent_at_once() -> None:
    """Before anything of the reservation is posted, and after."""
    play(TEN, HELD, RELEASED, USED)
    play(TEN, HELD, Flush(1_000), RELEASED, USED)


@pytest.mark.parametrize(
    "between",
    [
        [Flush(1_000), RELEASED],
        [Flush(1_000), RELEASED, OTHER],  # whose publish knows nothing of the release
        [RELEASED, Flush(1_000, most=1), OTHER],  # the opening is posted, the release is not
        [Flush(1_000), EndHold("ada", "hold1", "committed", 4), OTHER],
    ],
)
def test_it_is_gone_when_its_block_has_expired(between: list[Action]) -> None:
    """23, 44: whatever is published meanwhile, the edge waits at the boundary under which the credit was reserved."""
    check_read_again_at_once(TEN, HELD, *between, Wait(30), USED)
