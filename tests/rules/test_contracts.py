"""A contract says how many periods are left of it and when it ends, and so it comes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.rules.agenda import advance, catch_up, next_at
from app.rules.contracts import ends_at, periods_left
from app.rules.effects import PeriodTurned
from app.rules.lifecycle import TERMINAL, State
from app.rules.moments import NEVER_AT
from app.rules.periods import IntervalUnit
from app.rules.subscriptions import Contract, Subscription, subscribe
from app.rules.terms import BillingMode, Interval
from tests.rules.laws import LAW
from tests.rules.subscribing import PREPAID, STARTS_AT, Doing, live, lives, plan

ONE = Contract(1, renews=False)


def to_its_end(subscription: Subscription) -> tuple[int, int]:
    """When it ends and how many periods begin until then, where everything is paid for in time."""
    begun = at = 0
    while subscription.state not in TERMINAL:
        if subscription.upcoming.billing_mode is BillingMode.PREPAID and not subscription.ends_with_period:
            subscription = replace(subscription, is_renewed=True)
        at = next_at(subscription)
        is_first = subscription.state is State.SCHEDULED and subscription.has_trial
        subscription, effects = advance(subscription, at)
        begun += sum(isinstance(effect, PeriodTurned) for effect in effects) - is_first
    return at, begun


@LAW
@given(lives(), st.integers(1, 4))
def test_it_ends_when_it_says(life: tuple[Subscription, list[Doing]], periods: int) -> None:
    """Whatever was done before, and wherever it stands: after as many periods as are left, and just then."""
    new, doings = life
    contract = Contract(periods, renews=False)
    subscription = live(replace(new, contract=contract), doings, STARTS_AT).subscription
    said_at, left = ends_at(subscription, contract), periods_left(subscription, contract)
    if said_at < NEVER_AT:
        assert to_its_end(replace(subscription, cancel_at_period_end=False)) == (said_at, left)
        return
    interval, pending = subscription.terms.interval, subscription.pending
    is_other = pending is not None and pending.interval != interval
    assert is_other or subscription.state not in {State.SCHEDULED, State.TRIALING, State.ACTIVE}


@LAW
@given(lives(), st.integers(1, 4))
def test_before_it_starts_all_of_it_is_left(life: tuple[Subscription, list[Doing]], periods: int) -> None:
    """And in its trial, which is none of its periods; the end is known then already."""
    contract = Contract(periods, renews=False)
    new = replace(life[0], contract=contract)
    assert to_its_end(new) == (ends_at(new, contract), periods_left(new, contract))
    begun = catch_up(new, STARTS_AT)[0]
    assert ends_at(begun, contract) == ends_at(new, contract)


@pytest.mark.parametrize(("index", "left"), [(0, 2), (1, 1), (2, 0), (3, 2), (5, 0)])
def test_a_term_that_begins_anew(index: int, left: int) -> None:
    """What is left is of the present term, and it has no end."""
    contract = Contract(3, renews=True)
    active = replace(subscribe(plan(1), STARTS_AT, "UTC", contract=contract), state=State.ACTIVE, period_index=index)
    assert (periods_left(active, contract), ends_at(active, contract)) == (left, NEVER_AT)


def test_an_end_that_no_calendar_has() -> None:
    """The longest terms of the longest periods are said to have none."""
    contract = Contract(1_200, renews=False)
    ages = subscribe(plan(1, interval=Interval(IntervalUnit.YEAR, 366)), STARTS_AT, "UTC", contract=contract)
    assert (periods_left(ages, contract), ends_at(ages, contract)) == (1_200, NEVER_AT)


@pytest.mark.parametrize("state", [State.PAUSED, State.OVERDUE, State.CANCELED, State.EXPIRED])
def test_nobody_knows_while_no_period_runs(state: State) -> None:
    """When a pause ends, or a payment comes, says when the rest of it begins; of what has ended there is no rest."""
    stopped = replace(subscribe(plan(1, mode=PREPAID), STARTS_AT, "UTC", contract=ONE), state=state)
    assert ends_at(stopped, ONE) == NEVER_AT
