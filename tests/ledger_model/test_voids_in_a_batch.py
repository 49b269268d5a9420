"""Voids that stand in one batch with what they void, or with what was made a moment before."""

from collections import Counter

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


def test_a_void_may_be_in_one_batch_with_its_event() -> None:
    """40: read on time or read again, an event and its void give the same ledger."""
    check_read_again_at_once(TEN, USED, Flush(1_000), VOIDED)


def test_a_void_may_be_in_one_batch_with_a_duplicate_of_its_event() -> None:
    """14: usage that is sent again after its window changes nothing, whatever else is under way."""
    six = Grant("ada", "six", 6, 100, is_paid=False, lives=None)
    play(six, USED, Flush(1_000), TEN, Forget("ada", "use"), USED, VOIDED)


def test_a_void_of_a_refund_may_be_in_one_batch_with_what_made_it() -> None:
    """40: the same of a block that the flusher makes."""
    back = VoidBlock("ada", "back", "refund by void", allow_debt=False)
    check_read_again_at_once(USED, Flush(1_000), TEN, VOIDED, back)
