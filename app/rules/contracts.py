"""How far the term of a contract has come, and when it ends: from the subscription as it stands."""

from app.rules.lifecycle import TERMINAL, State
from app.rules.moments import HOUR_MICROSECONDS, NEVER_AT
from app.rules.periods import days_after, period_number, start_of
from app.rules.subscriptions import Contract, Subscription, calendar_of
from app.rules.terms import SHORTEST_DAYS, Interval

_DAY_MICROSECONDS = 24 * HOUR_MICROSECONDS
_CALLED_OFF = frozenset({State.PAUSED, State.OVERDUE}) | TERMINAL
"""In these nobody knows when the next period begins, or whether one does."""


def periods_left(subscription: Subscription, contract: Contract) -> int:
    """How many periods of the present term come after the present period, whatever their length."""
    if subscription.state in TERMINAL:
        return 0
    if subscription.state in {State.SCHEDULED, State.TRIALING}:
        return contract.periods
    number = subscription.period_index - subscription.has_trial
    if contract.renews:
        number %= contract.periods
    return max(0, contract.periods - 1 - number)  # who changed to another interval in the last one has one more


def ends_at(subscription: Subscription, contract: Contract) -> int:
    """When the contract ends the subscription, as long as each period begins where the one before it ended.

    `NEVER_AT` = that cannot be known: it renews, no time goes by or a payment is late, or the next period is to have
    another length.
    """
    if contract.renews or subscription.state in _CALLED_OFF:
        return NEVER_AT
    terms, pending = subscription.terms, subscription.pending
    if pending is not None and pending.interval != terms.interval:
        return NEVER_AT
    anchor_at, begins_at = _next_period(subscription)
    left = periods_left(subscription, contract)
    if begins_at + _shortest(terms.interval) * left >= NEVER_AT:  # no calendar goes much farther
        return NEVER_AT
    calendar = calendar_of(terms.interval, anchor_at, subscription.zone)
    return start_of(calendar, period_number(calendar, begins_at) + left)


def _next_period(subscription: Subscription) -> tuple[int, int]:
    """Where periods are counted from then, and where it begins."""
    period = subscription.period
    if subscription.state is State.TRIALING:
        return period.end_at, period.end_at
    if subscription.state is State.SCHEDULED and subscription.has_trial:
        trial_ends_at = days_after(period.start_at, subscription.terms.trial_days, subscription.zone)
        return trial_ends_at, trial_ends_at
    return subscription.anchor_at, period.end_at


def _shortest(interval: Interval) -> int:
    return interval.count * SHORTEST_DAYS[interval.unit] * _DAY_MICROSECONDS
