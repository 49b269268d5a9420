"""Programs on which the product and the description differ.

Where one is repaired its mark has to go, and the cut in `running.around_known_bugs` with it.
"""

from collections import Counter

import pytest

from tests.ledger_model.actions import Action, Flush, Forget, Grant, Use, VoidBlock, VoidEvent
from tests.ledger_model.one_by_one import post_in_batches
from tests.ledger_model.running import Run, write_anew
from tests.ledger_model.steps import Cast


def play(*actions: Action) -> Run:
    """A program, posted as it comes."""
    run = Run(post_in_batches, Counter(), Cast(("ada",)))
    for action in actions:
        run.take(action)
    return run


def check_read_again_at_once(*actions: Action) -> None:
    """The ledger that comes of reading the whole stream again as one batch is the one that was written on time."""
    run = play(*actions)
    run.compare(write_anew(run.parts.log, post_in_batches, 1_000, 1_000))


USED = Use("ada", "use", "calls", 6, enforce=False)
VOIDED = VoidEvent("ada", "void", "use")
TEN = Grant("ada", "ten", 10, 100, is_paid=False, lives=None)


@pytest.mark.xfail(
    strict=True,
    raises=KeyError,
    reason="a void in one batch with its event is not carried out: the blocks that the event drew are read from the "
    "rows of posted events only, so a stream that is read again (a ledger that fell back) stops the flusher",
)
def test_a_void_may_be_in_one_batch_with_its_event() -> None:
    """40: read on time or read again, an event and its void give the same ledger."""
    check_read_again_at_once(TEN, USED, Flush(1_000), VOIDED)


@pytest.mark.xfail(
    strict=True,
    raises=KeyError,
    reason="a void in one batch with a duplicate of its event stops the flusher: the writer's first attempt posts the "
    "duplicate as if it were new, and what it then seems to have drawn was not read",
)
def test_a_void_may_be_in_one_batch_with_a_duplicate_of_its_event() -> None:
    """14: usage that is sent again after its window changes nothing, whatever else is under way."""
    six = Grant("ada", "six", 6, 100, is_paid=False, lives=None)
    play(six, USED, Flush(1_000), TEN, Forget("ada", "use"), USED, VOIDED)


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="a void of a refund in one batch with the void that made it is refused as not found: blocks that the batch "
    "makes are not among the targets of its later orders",
)
def test_a_void_of_a_refund_may_be_in_one_batch_with_what_made_it() -> None:
    """40: the same of a block that the flusher makes."""
    back = VoidBlock("ada", "back", "refund by void", allow_debt=False)
    check_read_again_at_once(USED, Flush(1_000), TEN, VOIDED, back)
