"""When something happens to a subscription by itself, and what.

`next_at` says when, and `advance` takes exactly the first step that is due. It answers the subscription as it is
afterwards and what follows for others (app/rules/effects.py), and changes nothing: a preview is the same call, without
doing what it says. What clients do is in app/rules/actions.py.
"""

from collections.abc import Callable

from msgspec.structs import replace

from app.rules.effects import Announced, Effect, Notice, PeriodTurned, RolloverHeld
from app.rules.grant_cycles import begin_again, fresh_cycles, grant_due, next_cycle_at
from app.rules.lifecycle import Action, State
from app.rules.moments import NEVER_AT
from app.rules.period_turns import Outcome, billed, ended, moved, turn
from app.rules.periods import Period, days_after, period_containing
from app.rules.subscriptions import Subscription
from app.rules.terms import BillingMode

Step = Callable[[Subscription, int], Outcome]
"""What happens, and the moment with which it is dated."""


def next_at(subscription: Subscription) -> int:
    """When something next happens by itself; `NEVER_AT` = nothing does."""
    return next_step(subscription)[0]


def advance(subscription: Subscription, at: int) -> Outcome:
    """Take the first step that is due by `at`, dated with the moment at which it fell due; nothing where none is."""
    due_at, step = next_step(subscription)
    return step(subscription, due_at) if due_at <= min(at, NEVER_AT - 1) else (subscription, [])


def catch_up(subscription: Subscription, at: int) -> Outcome:
    """Take all steps that are due by `at`, one after the other."""
    effects: list[Effect] = []
    while next_at(subscription) <= min(at, NEVER_AT - 1):
        subscription, more = advance(subscription, at)
        effects += more
    return subscription, effects


def next_step(subscription: Subscription) -> tuple[int, Step]:
    """The first step and its moment; of several at one moment the first in the order below."""
    match subscription.state:
        case State.SCHEDULED:
            return subscription.period.start_at, _start
        case State.TRIALING | State.ACTIVE:
            steps: list[tuple[int, Step]] = [
                (_notice_at(subscription), _tell),
                (subscription.period.end_at, _end_period),
                (next_cycle_at(subscription), grant_due),
            ]
            return min(steps, key=lambda step: step[0])
        case State.OVERDUE:
            grace_days = subscription.upcoming.grace_period_days
            return days_after(subscription.period.end_at, grace_days, subscription.zone), _expire
        case State.PAUSED | State.CANCELED | State.EXPIRED:
            return NEVER_AT, _nothing


def _nothing(subscription: Subscription, _: int) -> Outcome:
    return subscription, []


def _notice_at(subscription: Subscription) -> int:
    """When the tenant has to be told that the period or the trial is about to end; `NEVER_AT` = not (any more)."""
    is_asked = subscription.state is State.TRIALING or subscription.upcoming.billing_mode is BillingMode.PREPAID
    if not is_asked or subscription.is_told or subscription.is_renewed or subscription.ends_with_period:
        return NEVER_AT
    period = subscription.period
    before_at = days_after(period.end_at, -subscription.upcoming.renewal_due_days, subscription.zone)
    return max(period.start_at, before_at)


def _tell(subscription: Subscription, at: int) -> Outcome:
    notice = Notice.TRIAL_ENDING if subscription.state is State.TRIALING else Notice.RENEWAL_DUE
    return replace(subscription, is_told=True), [Announced(at, notice)]


def come_back(subscription: Subscription, left: Subscription, at: int) -> Outcome:
    """Start on the free plan, in the periods and cycles of the subscription with which the customer `left` it."""
    subscription = replace(subscription, anchor_at=left.anchor_at)
    period = period_containing(subscription.calendar, at)
    subscription, effects = moved(subscription, Action.START, at)
    subscription, granted = begin_again(replace(subscription, period=period), left, at)
    return subscription, [*effects, PeriodTurned(at, period, subscription.period_index), *granted]


def _start(subscription: Subscription, at: int) -> Outcome:
    starts_at, terms = subscription.period.start_at, subscription.terms
    if subscription.has_trial:
        trial_ends_at = days_after(starts_at, terms.trial_days, subscription.zone)
        action, period = Action.START_TRIAL, Period(starts_at, trial_ends_at)
    else:
        action, period = Action.START, period_containing(subscription.calendar, starts_at)
    subscription, effects = moved(subscription, action, at)
    subscription = replace(subscription, period=period, cycles=fresh_cycles(subscription, starts_at))
    subscription, granted = grant_due(subscription, at)
    return subscription, [*effects, PeriodTurned(at, period, subscription.period_index), *granted]


def _end_period(subscription: Subscription, at: int) -> Outcome:
    """The period or the trial is over: it is billed, and the next one begins, or is waited for, or does not come."""
    is_trial, over = subscription.state is State.TRIALING, subscription.period
    bill = billed(subscription, over.end_at, at)
    if subscription.ends_with_period:
        subscription, effects = ended(subscription, Action.END, at)
        return subscription, [*bill, *effects, Announced(at, Notice.CANCELED)]
    if is_trial:
        subscription = replace(subscription, anchor_at=over.end_at)
        subscription = replace(subscription, cycles=fresh_cycles(subscription, over.end_at), former=())
    if subscription.upcoming.billing_mode is BillingMode.PREPAID and not subscription.is_renewed:
        subscription, effects = moved(subscription, Action.FALL_OVERDUE, at)
        return subscription, [*bill, *effects, RolloverHeld(at), Announced(at, Notice.OVERDUE)]
    subscription, effects = turn(subscription, Action.CONVERT if is_trial else Action.TURN, at)
    return subscription, [*bill, *effects]


def _expire(subscription: Subscription, at: int) -> Outcome:
    subscription, effects = ended(subscription, Action.EXPIRE, at)
    return subscription, [*effects, Announced(at, Notice.EXPIRED)]
