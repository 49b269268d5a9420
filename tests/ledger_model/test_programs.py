"""Random programs on the reference and on the product's pure parts: the same answers, and the same books."""

from collections import Counter
from random import Random

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.ledger_model.one_by_one import FLUSHERS, Flusher
from tests.ledger_model.running import Run
from tests.ledger_model.steps import NAMES, STEPS, Cast, make_up

PROGRAMS, LEAST_STEPS, MOST_STEPS = 900, 40, 80
MORE_PROGRAMS = 2_000
RULES = """
block drawn in part
two blocks drawn by one event
usage that makes debt
free usage
unused credit expires
debt paid from a later grant
debt paid from a block that expires
unknown block not drawn
refused for credit
duplicate answered from memory
duplicate ignored
void into a live block
void into an expired block
void of an event with open debt
void with a refund
void of usage of a voided grant
void of an unknown event
void of a voided event
void of an unspent grant
void of a spent grant refused
void of a spent grant with debt
void of an expired grant
void of an unknown grant
void of a voided grant
debit covered
debit refused
debit with debt
opening answered from memory
opening refused for credit
opened again
reservation that makes debt
reservation of two blocks
reservation extended
commit of as much
commit of less
commit of more
commit of more that makes debt
committed into a live block
committed into an expired block
committed of an event with open debt
committed with a refund
committed of usage of a voided grant
released into a live block
released into an expired block
released of an event with open debt
released with a refund
released of usage of a voided grant
expired into a live block
expired into an expired block
expired of usage of a voided grant
what comes back waits for the ledger
end answered from memory
end of what was charged before
end of an unknown reservation
second end refused
late commit
what is past due expires before a refusal
order met twice
tick by jobs
edge waits at a boundary
unavailable while the flusher is stopped
flusher dies between commit and publish
batches cut between two entries of one customer
one batch of several customers
"""
"""What every run has to reach; the names are given where the rule is."""
CUT_RULES = {"one batch of several customers"}
"""Only of flushers that make batches."""


def _go_on_for(wanted: set[str], flusher: Flusher, reached: Counter[str]) -> list[str]:
    """Rules that no program has reached, when some more were tried for them.

    What Hypothesis draws depends on the modules that are imported beside it, and a rule is met once in a thousand.
    """
    for seed in range(MORE_PROGRAMS):
        if all(reached[rule] for rule in wanted):
            break
        random = Random(seed)
        run = Run(flusher, reached, Cast(NAMES[: random.randint(1, len(NAMES))]))
        for _ in range(MOST_STEPS):
            run.take(make_up(random, run.cast, STEPS))
        run.finish()
    return sorted(rule for rule in wanted if not reached[rule])


@pytest.mark.slow
@pytest.mark.parametrize("name", FLUSHERS)
def test_the_ledger_is_the_one_that_its_description_gives(name: str) -> None:
    """40, 41: in batches and one by one, with any lag, as the reference has it; and every rule was met on the way."""
    reached = Counter[str]()

    @settings(derandomize=True, deadline=None, max_examples=PROGRAMS)
    @given(st.integers(1, len(NAMES)), st.lists(st.integers(0, 2**64), min_size=LEAST_STEPS, max_size=MOST_STEPS))
    def programs(customers: int, seeds: list[int]) -> None:
        before = reached.copy()
        run = Run(FLUSHERS[name], reached, Cast(NAMES[:customers]))
        for place, seed in enumerate(seeds):
            if seed:  # a zero is what Hypothesis makes of a step that a failure does not need
                run.take(
                    make_up(Random(f"{place} {seed}"), run.cast, STEPS)
                )  # it likes small seeds: few, but for places
        run.finish()
        for rule in reached - before:
            event(rule)

    programs()
    wanted = {*RULES.strip().splitlines()} - (CUT_RULES if name == "one by one" else set())
    missed = _go_on_for(wanted, FLUSHERS[name], reached)
    assert not missed, f"no program reached: {', '.join(missed)}"
