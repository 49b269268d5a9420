"""How a period ends and the next one begins, whoever brings it about: time or a client."""

from msgspec.structs import replace

from app.rules.effects import (
    Announced,
    Billed,
    Effect,
    Notice,
    PeriodTurned,
    RolloverFreed,
    RolloverLost,
    StateChanged,
    TermsChanged,
)
from app.rules.grant_cycles import grant_due, skip_cycles, switch
from app.rules.lifecycle import Action, State, move
from app.rules.periods import Calendar, Period, period_containing
from app.rules.subscriptions import Subscription, calendar_of
from app.rules.terms import BillingMode

Outcome = tuple[Subscription, list[Effect]]
"""A subscription as it is afterwards, and what follows from it for others."""


def turn(subscription: Subscription, action: Action, at: int) -> Outcome:
    """The next period begins where the present one ended; where that is over too, the one that is running.

    So who pays late pays for no time that has gone by, and gets no credit for it.
    """
    before, terms = subscription.terms, subscription.upcoming
    anchor_at = subscription.anchor_at if terms.interval == before.interval else subscription.period.end_at
    begins_at = _begins_at(subscription, calendar_of(terms.interval, anchor_at, subscription.zone), at)
    is_late = subscription.state is State.OVERDUE
    subscription, effects = moved(subscription, action, at)
    if is_late:
        effects.append(RolloverFreed(at))
    subscription = skip_cycles(subscription, begins_at)
    if terms is not before:
        subscription, switched = switch(subscription, terms, begins_at, anchor_at)
        effects += [
            TermsChanged(at, before.version_id, terms.version_id),
            *(replace(granted, at=at) for granted in switched if granted.expires_at > at),
        ]
    subscription = replace(subscription, pending=None if terms is subscription.pending else subscription.pending)
    subscription, begun = begin_period(subscription, begins_at, at)
    told = Notice.UPDATED if action is Action.CONVERT else Notice.RENEWED
    return subscription, [*effects, *begun, Announced(at, told)]


def _begins_at(subscription: Subscription, calendar: Calendar, at: int) -> int:
    end_at = subscription.period.end_at
    return max(end_at, period_containing(calendar, at).start_at) if at > end_at else end_at


def begin_period(subscription: Subscription, begins_at: int, at: int) -> Outcome:
    """A period begins, where the calendar has a boundary; all that is granted at its beginning comes with it."""
    period, index = period_containing(subscription.calendar, begins_at), subscription.period_index + 1
    subscription = replace(subscription, period=period, period_index=index, is_renewed=False, is_told=False)
    subscription, granted = grant_due(subscription, at)
    return subscription, [PeriodTurned(at, period, index), *granted]


def moved(subscription: Subscription, action: Action, at: int) -> Outcome:
    """The state that the table says."""
    before, after = subscription.state, move(subscription.state, action)
    changed: list[Effect] = [] if before is after else [StateChanged(at, action, before, after)]
    return replace(subscription, state=after), changed


def ended(subscription: Subscription, action: Action, at: int) -> Outcome:
    """A terminal state; nothing is to come any more."""
    lost: list[Effect] = []
    if subscription.state is State.OVERDUE:
        lost.append(RolloverLost(at, subscription.period.end_at))
    subscription = replace(subscription, pending=None, cancel_at_period_end=False, is_renewed=False, paused_at=None)
    subscription, changed = moved(subscription, action, at)
    return subscription, [*lost, *changed]


def billed(subscription: Subscription, end_at: int, at: int) -> list[Effect]:
    """A postpaid period is closed, at its end or before."""
    if subscription.terms.billing_mode is BillingMode.PREPAID:
        return []
    return [Billed(at, Period(subscription.period.start_at, end_at))]
