"""The reference misses each rule of the product that is taken out: its programs are not idle."""

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from msgspec import structs

from app.corrections import deciding
from app.flusher import falling_due, reserving
from app.ledger import returning
from app.ledger.returning import Drawn
from app.rules import burndown
from app.rules.burndown import Block
from tests.bites import Rule, is_missed
from tests.ledger_model.one_by_one import post_in_batches
from tests.ledger_model.running import Run
from tests.ledger_model.steps import NAMES, STEPS, Cast, make_up

PROGRAMS, STEPS_EACH = 400, 60
_split = Drawn.split
_is_eligible, _burn_order, _void_usage = burndown.is_eligible, burndown.burn_order, deciding._void_usage  # noqa: SLF001


def _nothing(*_: Any) -> None:
    """In the place of what is left out."""


def _forget_debt(account: Any, order: Any, targets: Any, at: int, revision: int) -> Any:
    events = {key: structs.replace(event, debt_micro=0) for key, event in targets.events.items()}
    return _void_usage(account, order, structs.replace(targets, events=events), at, revision)


def _without(*places: int) -> Callable[[Block], Any]:
    return lambda block: tuple(part for place, part in enumerate(_burn_order(block)) if place not in places)


def _from_the_end(drawn: Drawn, first_micro: int) -> tuple[Drawn, Drawn]:
    return _split(structs.replace(drawn, draws=drawn.draws[::-1]), first_micro)


def _nothing_more(_: Any, __: Any, ___: Any, amount_micro: int) -> Any:
    return Drawn([], amount_micro), [("debt", -amount_micro)]


RULES: dict[str, Rule] = {
    "priority decides": Rule(burndown, "burn_order", _without(0)),
    "what expires first is spent first": Rule(burndown, "burn_order", _without(1)),
    "free before paid": Rule(burndown, "burn_order", _without(2)),
    "what was granted first is spent first": Rule(
        burndown, "burn_order", lambda b: (*_burn_order(b)[:3], -b.granted_at)
    ),
    "only known blocks are drawn": Rule(burndown, "is_eligible", lambda block, at, _: _is_eligible(block, at, 2**60)),
    "debt is paid": Rule(falling_due, "pay_debt", _nothing),
    "what is due expires": Rule(falling_due, "next_due", _nothing),
    "what was reserved is used in the order of its draws": Rule(Drawn, "split", _from_the_end),
    "what is above it is drawn": Rule(reserving, "_draw", _nothing_more),
    "it pays debt before it is opened or ended": Rule(reserving, "_pay_debt", _nothing),
    "spent blocks come back": Rule(returning, "_bring_back", _nothing),
    "a void lowers debt": Rule(deciding, "_void_usage", _forget_debt),
    "paid debt is refunded": Rule(returning, "_refund", _nothing),
}
"""What of the product keeps them, and what is put in its place."""


@pytest.mark.parametrize("rule", RULES)
def test_the_reference_misses_it(rule: str) -> None:
    """Some program gives other books, or none at all."""
    assert is_missed(RULES[rule], _run, PROGRAMS), f"no program misses that {rule}"


def _run(seed: int) -> None:
    random = Random(seed)
    run = Run(post_in_batches, Counter(), Cast(NAMES[: random.randint(1, len(NAMES))]))
    for _ in range(STEPS_EACH):
        run.take(make_up(random, run.cast, STEPS))
    run.finish()
