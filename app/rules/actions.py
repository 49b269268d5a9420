"""What clients do to a subscription: everything that is due by then first, then the action, then what that makes due.

A preview is the same call, without doing what it says.
"""

from collections.abc import Callable
from enum import StrEnum
from uuid import UUID

import msgspec
from msgspec.structs import replace

from app.rules.agenda import catch_up, next_step
from app.rules.effects import Announced, BlocksFrozen, BlocksMoved, Notice, TermsChanged
from app.rules.grant_cycles import grant_due, move_cycles, part_of_change, switch
from app.rules.lifecycle import BY_TIME, Action, IllegalMove, State, legal_actions, move
from app.rules.moments import NEVER_AT
from app.rules.period_turns import Outcome, begin_period, billed, ended, moved, turn
from app.rules.periods import Period
from app.rules.subscriptions import Subscription, is_upgrade
from app.rules.terms import BillingMode, SubscriptionTerms


class Refusal(StrEnum):
    """Why an action is refused though the state knows it."""

    NOT_PREPAID = "not_prepaid"
    """The next period begins by itself."""
    PERIOD_NOT_BEGUN = "period_not_begun"
    """A period is to be renewed that has not begun."""
    ENDS = "ends"
    """Nothing follows the present period that could be paid for, or changed to."""
    PAID_AHEAD = "paid_ahead"
    """The next period is paid for, and the change would begin another one now, or make it one of another variant."""
    OVER = "over"
    """Its period is over, and was to be followed by one that is paid for before it begins."""
    NOTHING_SCHEDULED = "nothing_scheduled"
    NO_TERMS = "no_terms"
    """A change says no terms."""
    SAME_TERMS = "same_terms"
    """A change says the terms that hold already."""


class ActionRefused(ValueError):
    """The action is not possible, for a reason that is not the state."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(refusal.value)


class Arguments(msgspec.Struct, frozen=True):
    """What an action is given."""

    terms: SubscriptionTerms | None = None
    """Of a change, at once or scheduled."""
    period_index: int | None = None
    """Of a renewal: which period is to be followed by the next one. None = the present one. Name it where the call may
    come twice or late: a period that has been renewed is not renewed again."""
    is_paid: bool = False
    """A payment comes with a change: for what the next period costs more, where that is paid for already."""


def act(subscription: Subscription, action: Action, arguments: Arguments, now: int) -> Outcome:
    """Do what a client asks for. Raises IllegalMove and ActionRefused."""
    subscription, effects = catch_up(subscription, now)
    if action in BY_TIME:
        raise IllegalMove(subscription.state, action)
    move(subscription.state, action)
    subscription, more = _ACTIONS[action](subscription, arguments, now)
    effects = [*effects, *more]
    # Dated with the action: the moment of a notice, say, may have passed before there was anything to tell.
    while (step := next_step(subscription))[0] <= now:
        subscription, more = step[1](subscription, now)
        effects += more
    return subscription, effects


def possible_actions(subscription: Subscription, now: int, other: SubscriptionTerms | None = None) -> list[Action]:
    """What a client may do, given the arguments that fit: what the state knows and `act` does not refuse.

    `other` are the terms that a change may be to. None = there are some, of the same interval.
    """
    subscription, _ = catch_up(subscription, now)
    fitting = Arguments(other or _another_version(subscription.terms), is_paid=True)
    return [action for action in legal_actions(subscription.state) if _is_done(subscription, action, fitting, now)]


def _is_done(subscription: Subscription, action: Action, arguments: Arguments, now: int) -> bool:
    try:
        act(subscription, action, arguments, now)
    except ActionRefused:
        return False
    return True


def _another_version(terms: SubscriptionTerms) -> SubscriptionTerms:
    return replace(terms, name=replace(terms.name, version_id=UUID(int=0)))


def _renew(subscription: Subscription, arguments: Arguments, now: int) -> Outcome:
    present = subscription.period_index
    index = present if arguments.period_index is None else arguments.period_index
    if index > present:
        raise ActionRefused(Refusal.PERIOD_NOT_BEGUN)
    if index < present or subscription.is_renewed:
        return subscription, []
    if subscription.ends_with_period:
        raise ActionRefused(Refusal.ENDS)
    if subscription.state is State.OVERDUE:
        return turn(subscription, Action.RENEW, now)
    if subscription.upcoming.billing_mode is BillingMode.POSTPAID:
        raise ActionRefused(Refusal.NOT_PREPAID)
    return replace(subscription, is_renewed=True, is_put_off=False), [Announced(now, Notice.UPDATED)]


def _change(subscription: Subscription, arguments: Arguments, now: int) -> Outcome:
    """A variant with another interval begins a period now; with the same one the period goes on."""
    before, terms = subscription.terms, _other_terms(subscription, arguments)
    is_cut = subscription.state is State.ACTIVE and terms.interval != before.interval
    if subscription.is_renewed and (is_cut or (_is_other_variant(before, terms) and not arguments.is_paid)):
        raise ActionRefused(Refusal.PAID_AHEAD)
    bill = billed(subscription, now, now) if is_cut else []
    subscription = replace(subscription, pending=None, cancel_at_period_end=False)
    subscription, granted = switch(subscription, terms, now, now if is_cut else subscription.anchor_at)
    subscription, begun = begin_period(subscription, now, now) if is_cut else grant_due(subscription, now)
    notice = Notice.UPGRADED if is_upgrade(before, terms) else Notice.DOWNGRADED
    changed = TermsChanged(now, before.version_id, terms.version_id)
    return subscription, [changed, *bill, *granted, *map(part_of_change, begun), Announced(now, notice)]


def _schedule_change(subscription: Subscription, arguments: Arguments, now: int) -> Outcome:
    terms = _other_terms(subscription, arguments)
    is_put_off = subscription.is_renewed
    scheduled = replace(subscription, pending=terms, is_put_off=is_put_off, cancel_at_period_end=False)
    if _last_paid_for(scheduled).ends_with_period:  # its contract does, whatever is to happen
        raise ActionRefused(Refusal.ENDS)
    if subscription.pending is not None and subscription.pending.version_id == terms.version_id:
        return subscription, []
    return scheduled, [Announced(now, Notice.UPDATED)]


def _last_paid_for(subscription: Subscription) -> Subscription:
    """As it will be in the last period that is paid for."""
    if not subscription.is_renewed:
        return subscription
    index = subscription.period_index + 1
    return replace(subscription, state=State.ACTIVE, period_index=index, is_renewed=False)


def _other_terms(subscription: Subscription, arguments: Arguments) -> SubscriptionTerms:
    if arguments.terms is None:
        raise ActionRefused(Refusal.NO_TERMS)
    if arguments.terms.version_id == subscription.terms.version_id:
        raise ActionRefused(Refusal.SAME_TERMS)
    return arguments.terms


def _is_other_variant(before: SubscriptionTerms, terms: SubscriptionTerms) -> bool:
    """Whether that has a price of its own; another version of a variant is given to those who have paid."""
    return terms.name.variant_id != before.name.variant_id


def _unschedule(subscription: Subscription, _: Arguments, now: int) -> Outcome:
    if subscription.pending is None and not subscription.cancel_at_period_end:
        raise ActionRefused(Refusal.NOTHING_SCHEDULED)
    if subscription.state is State.OVERDUE and subscription.terms.billing_mode is BillingMode.POSTPAID:
        raise ActionRefused(Refusal.OVER)
    return replace(subscription, pending=None, cancel_at_period_end=False), [Announced(now, Notice.UPDATED)]


def _pause(subscription: Subscription, _: Arguments, now: int) -> Outcome:
    subscription, changed = moved(replace(subscription, paused_at=now), Action.PAUSE, now)
    return subscription, [*changed, BlocksFrozen(now), Announced(now, Notice.PAUSED)]


def _resume(subscription: Subscription, _: Arguments, now: int) -> Outcome:
    """What remained of the period remains, and those that follow are counted from its end."""
    stood_still, period = _stood_still(subscription, now), subscription.period
    gone_on = replace(
        _gone_on(subscription, now),
        period=Period(period.start_at + stood_still, period.end_at + stood_still),
        paused_at=None,
    )
    subscription, changed = moved(gone_on, Action.RESUME, now)
    return subscription, [*changed, BlocksMoved(now, stood_still), Announced(now, Notice.RESUMED)]


def _gone_on(subscription: Subscription, now: int) -> Subscription:
    """What is to come of it, after it stood still: so much later."""
    stood_still, ahead = _stood_still(subscription, now), subscription.ahead
    if ahead is not None:
        ahead = replace(ahead, until_at=min(ahead.until_at + stood_still, NEVER_AT))
    went_on = move_cycles(subscription, now - stood_still, stood_still)
    return replace(went_on, anchor_at=subscription.period.end_at + stood_still, ahead=ahead)


def _stood_still(subscription: Subscription, now: int) -> int:
    return 0 if subscription.paused_at is None else now - subscription.paused_at


def _cancel(subscription: Subscription, _: Arguments, now: int) -> Outcome:
    """A period that is running is closed where it stands; what stood still goes on before it ends.

    So do its cycles, for who comes back to the free plan.
    """
    stood_still = _stood_still(subscription, now)
    gone_on = _gone_on(subscription, now) if subscription.state is State.PAUSED else subscription
    is_running = subscription.state in {State.TRIALING, State.ACTIVE, State.PAUSED}
    bill = billed(subscription, now - stood_still, now) if is_running else []
    thawed = [] if subscription.paused_at is None else [BlocksMoved(now, stood_still)]
    subscription, changed = ended(gone_on, Action.CANCEL, now)
    return subscription, [*bill, *thawed, *changed, Announced(now, Notice.CANCELED)]


def _cancel_at_period_end(subscription: Subscription, _: Arguments, now: int) -> Outcome:
    if subscription.cancel_at_period_end:
        return subscription, []
    return replace(subscription, pending=None, cancel_at_period_end=True), [Announced(now, Notice.UPDATED)]


_ACTIONS: dict[Action, Callable[[Subscription, Arguments, int], Outcome]] = {
    Action.RENEW: _renew,
    Action.CHANGE: _change,
    Action.SCHEDULE_CHANGE: _schedule_change,
    Action.UNSCHEDULE: _unschedule,
    Action.PAUSE: _pause,
    Action.RESUME: _resume,
    Action.CANCEL: _cancel,
    Action.CANCEL_AT_PERIOD_END: _cancel_at_period_end,
}
