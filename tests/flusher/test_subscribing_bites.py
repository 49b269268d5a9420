"""Some life misses each rule that is taken out: the laws of subscriptions are not idle."""

from typing import Any

import pytest
from msgspec import structs

from app.flusher import falling_due, tied_credit
from app.flusher.subscribing import _Poster
from app.flusher.tied_credit import TiedCredit
from app.ledger import targets
from app.rules import actions
from app.rules.actions import Arguments
from app.rules.burndown import Block
from app.rules.effects import Billed
from app.rules.lifecycle import Action
from app.rules.standstill import Course, Place, place_of
from app.rules.subscriptions import Subscription
from app.subscriptions import book
from app.subscriptions.book import Customer
from tests.bites import Rule, is_missed
from tests.flusher.subscribing_laws import LAWS
from tests.flusher.subscribing_programs import make_life

LIVES = 300
_advance, _pay_debt, _renew = book.advance, falling_due.pay_debt, actions._ACTIONS[Action.RENEW]  # noqa: SLF001


def _nothing(*_: Any, **__: Any) -> None:
    """In the place of what is left out."""


def _never(*_: Any, **__: Any) -> bool:
    return False


def _billed_last(subscription: Subscription, at: int) -> Any:
    after, effects = _advance(subscription, at)
    return after, sorted(effects, key=lambda effect: isinstance(effect, Billed))


def _not_before_a_bill(posting: Any, group: Any, at: int, revision: int) -> None:
    if at != group.account.agenda_at - 1:
        _pay_debt(posting, group, at, revision)


def _whichever_period(subscription: Subscription, _: Arguments, now: int) -> Any:
    return _renew(subscription, Arguments(), now)


def _never_aside(block: Block, course: Course) -> Place:
    return structs.replace(place_of(block, course), is_aside=False)


RULES: dict[str, Rule] = {
    "a pause sets credit aside": Rule(TiedCredit, "_set_aside", _nothing),
    "what was set aside comes back": Rule(TiedCredit, "_bring_back", _nothing),
    "who falls back is not granted again what was granted": Rule(Customer, "_left", _nothing),
    "a plan is tried once": Rule(Customer, "_had_trial", _never),
    "nothing rolls over where the subscription ends by itself": Rule(falling_due, "_ends", _never),
    "what rolled over waits for the payment": Rule(TiedCredit, "_rolled_over", lambda *_: []),
    "what waited for the payment comes with it": Rule(TiedCredit, "_free", _nothing),
    "what waited for a payment that never came is lost": Rule(TiedCredit, "_lose", _nothing),
    "nothing rolls over after the subscription has ended": Rule(TiedCredit, "end_rollover", _nothing),
    "what was left is of who comes back": Rule(TiedCredit, "take_over", _nothing),
    "the bill comes before the grant": Rule(book, "advance", _billed_last),
    "known credit pays before the bill": Rule(falling_due, "pay_debt", _not_before_a_bill),
    "of one moment, what expires does so first": Rule(falling_due, "_comes_first", lambda *_: True),
    "a renewal names its period": Rule(actions._ACTIONS, Action.RENEW, _whichever_period),  # noqa: SLF001
    "what comes back while time stands still waits": Rule(targets, "place_of", _never_aside),
    "what is set aside of a grant is voided with it": Rule(tied_credit, "aside_of", lambda *_: {}),
    "history is written": Rule(_Poster, "_remember", _nothing),
}
"""What of the product keeps them, and what is put in its place."""


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_some_life_misses_it(rule: str) -> None:
    """Some law does not hold of it, or it cannot be lived at all."""
    assert is_missed(RULES[rule], _live, LIVES), f"no life misses that {rule}"


def _live(seed: int) -> None:
    life = make_life(seed)
    for law in LAWS:
        law(life)
