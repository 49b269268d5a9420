"""The grants of a subscription: each template has cycles of its own, and each cycle is granted once.

A cycle begins where the one before it ends; where it ends follows from the template's anchor. A cycle that begins when
the period is over waits for the next period, which may not be paid for; credit that would have expired by then is not
granted.
"""

from collections.abc import Sequence
from uuid import UUID

from msgspec.structs import replace

from app.rules.effects import Effect, Granted
from app.rules.lifecycle import State
from app.rules.moments import NEVER_AT
from app.rules.periods import Calendar, Period, nth_period, period_containing, period_number, start_of
from app.rules.proration import Share, prorated_difference, split_by_largest_remainder, weights_of
from app.rules.subscriptions import Ahead, Cycle, Former, Subscription, calendar_of, expiry_of
from app.rules.terms import GrantTemplate, Interval, SubscriptionTerms

MAX_FORMER = 20
"""Lengths of cycles that are remembered: more than a customer meets, and few enough to stand in a row."""


def fresh_cycles(subscription: Subscription, at: int) -> tuple[Cycle, ...]:
    """The cycles that are running at a moment, counted from the subscription's anchor; all are still to be granted."""
    recurring = [(template.id, template.every) for template in subscription.terms.grants if template.every is not None]
    return tuple(_ungranted(subscription, template_id, every, at) for template_id, every in recurring)


def next_cycle_at(subscription: Subscription) -> int:
    """When the next cycle begins in the present period; `NEVER_AT` = not before it ends."""
    begins = [cycle.present.end_at for cycle in subscription.cycles]
    return min((at for at in begins if at < subscription.period.end_at), default=NEVER_AT)


def grant_due(subscription: Subscription, at: int) -> tuple[Subscription, list[Effect]]:
    """Grant the cycles of the present period that have begun by `at`, and what is given once."""
    subscription, effects = _grant_once(subscription, at)
    for template in subscription.terms.grants:
        if template.every is not None:
            subscription, granted = _grant_cycles(subscription, template, template.every, at)
            effects += granted
    return subscription, effects


def switch(
    subscription: Subscription, terms: SubscriptionTerms, at: int, anchor_at: int
) -> tuple[Subscription, list[Granted]]:
    """Let other terms hold from `at` on, and grant what is due for the cycles in whose middle that is.

    What the old grants are worth for the time that remains of their cycles is given already, so of the new ones only
    what is above it is granted; where they are worth less, the difference counts against what comes next. Cycles that
    begin `at` are left to `grant_due`.
    """
    old = {template.id: template for template in subscription.terms.grants}
    new = {template.id: template for template in terms.grants}
    running = [cycle for cycle in subscription.cycles if cycle.present.end_at > at]
    cycles = tuple(_cycle_at(subscription, t, t.every, at, anchor_at) for t in terms.grants if t.every is not None)
    middle = [cycle for cycle in cycles if cycle.present.end_at > at]
    shares = [_share(new[cycle.template_id], cycle, at) for cycle in middle]
    worth_micro = prorated_difference([_share(old[c.template_id], c, at) for c in running], shares)
    due_micro = worth_micro - ahead_micro(subscription, at)
    until_at = max((_counts_until(subscription, old[c.template_id], c) for c in running), default=at)
    ahead = _ahead(subscription, -due_micro, until_at)
    former = _left(subscription, terms) if anchor_at == subscription.anchor_at else ()
    switched = replace(subscription, terms=terms, anchor_at=anchor_at, cycles=cycles, former=former, ahead=ahead)
    parts = split_by_largest_remainder(max(due_micro, 0), weights_of(shares))
    shared_out = zip(middle, parts, strict=True)
    return switched, [_granted(switched, new[c.template_id], c, at, part) for c, part in shared_out if part]


def begin_again(subscription: Subscription, left: Subscription, at: int) -> tuple[Subscription, list[Effect]]:
    """Let what begins `at` go on where an earlier subscription to the plan was `left`, and grant what is due.

    Each cycle is granted once, whichever began it. Another version holds as after a change at this moment; only where
    nothing that was granted reaches into the cycles that are running, they are granted whole, as to who is new. What
    was granted counts also where a version in between has no such cycles.
    """
    fresh = replace(subscription, cycles=fresh_cycles(subscription, at), ahead=left.ahead)
    given = [*left.cycles, *(former.cycle for former in left.former)]
    if not given or (fresh.cycles and _are_all_over(given, fresh.cycles)):
        return grant_due(fresh, at)
    cycles, former = left.cycles, left.former
    went_on = replace(subscription, terms=left.terms, cycles=cycles, former=former, ahead=left.ahead)
    went_on = skip_cycles(went_on, at)
    if left.terms.version_id == subscription.terms.version_id:
        return grant_due(went_on, at)
    went_on = replace(went_on, period=period_containing(went_on.calendar, at))  # that of the terms that held
    switched, parts = switch(went_on, subscription.terms, at, subscription.anchor_at)
    switched, begun = grant_due(replace(switched, period=subscription.period), at)
    return switched, [*parts, *map(part_of_change, begun)]


def part_of_change(effect: Effect) -> Effect:
    """A cycle that begins with a change is of that change: another one may come at the same moment."""
    is_cycle = isinstance(effect, Granted) and effect.template.every is not None
    return replace(effect, is_part=True) if is_cycle else effect


def skip_cycles(subscription: Subscription, until_at: int) -> Subscription:
    """Leave out the cycles that are over by then, of time that belongs to no period."""
    cycles: list[Cycle] = []
    for every, last in _present(subscription):
        cycle = last
        while (following := _next(subscription, cycle, every)).present.end_at <= until_at:
            cycle = following
        cycles.append(cycle)
    return replace(subscription, cycles=tuple(cycles))


def move_cycles(subscription: Subscription, since_at: int, by_microseconds: int) -> Subscription:
    """After it stood still for so long since a moment: what remained of the present cycles, remains.

    Those to come are counted back from the end of the period, so that a pause never adds one to it, though months
    differ in length.
    """
    cycles = tuple(_moved(subscription, cycle, every, by_microseconds) for every, cycle in _present(subscription))
    left = [replace(f, cycle=_running(subscription, f.cycle, f.every, since_at)) for f in subscription.former]
    former = tuple(replace(f, cycle=_moved(subscription, f.cycle, f.every, by_microseconds)) for f in left)
    return replace(subscription, cycles=cycles, former=former)


def ahead_micro(subscription: Subscription, at: int) -> int:
    """What was given ahead and still counts."""
    ahead = subscription.ahead
    return ahead.amount_micro if ahead is not None and at < ahead.until_at else 0


def _are_all_over(given: Sequence[Cycle], running: Sequence[Cycle]) -> bool:
    """Whether nothing that was given reaches into the cycles that are running."""
    return max(cycle.present.end_at for cycle in given) <= min(cycle.present.start_at for cycle in running)


def _ungranted(subscription: Subscription, template_id: UUID, every: Interval, at: int) -> Cycle:
    calendar = calendar_of(every, subscription.anchor_at, subscription.zone)
    number = period_number(calendar, at)
    begins_at = start_of(calendar, number)
    return Cycle(template_id, subscription.anchor_at, number - 1, Period(begins_at, begins_at))


def _ahead(subscription: Subscription, amount_micro: int, until_at: int) -> Ahead | None:
    if amount_micro <= 0:
        return None
    before = subscription.ahead
    return Ahead(amount_micro, until_at if before is None else max(until_at, before.until_at))


def _grant_once(subscription: Subscription, at: int) -> tuple[Subscription, list[Effect]]:
    due = [t for t in subscription.terms.grants if t.every is None and t.id not in subscription.given_once]
    expiries = [expiry_of(template, at, NEVER_AT, subscription.zone) for template in due]
    effects: list[Effect] = [
        Granted(at, template, at, template.amount_micro, 0, expires_at, expires_at, is_tied=False)
        for template, expires_at in zip(due, expiries, strict=True)
    ]
    given = subscription.given_once | {template.id for template in due}
    return replace(subscription, given_once=given), effects


def _grant_cycles(
    subscription: Subscription, template: GrantTemplate, every: Interval, at: int
) -> tuple[Subscription, list[Effect]]:
    effects: list[Effect] = []
    cycles = {cycle.template_id: cycle for cycle in subscription.cycles}
    cycle, ahead = cycles[template.id], subscription.ahead
    while cycle.present.end_at <= at and cycle.present.end_at < subscription.period.end_at:
        cycle = _next(subscription, cycle, every)
        expires_at = _expiry(subscription, template, cycle)
        if expires_at <= at:
            continue  # it would have expired by now
        withheld_micro = min(template.amount_micro, ahead_micro(replace(subscription, ahead=ahead), at))
        if ahead is not None:
            ahead = _ahead(subscription, ahead.amount_micro - withheld_micro, ahead.until_at)
        if withheld_micro < template.amount_micro:
            amount_micro = template.amount_micro - withheld_micro
            granted = _granted(subscription, template, cycle, at, amount_micro)
            key_at = cycle.present.start_at
            whole = replace(granted, key_at=key_at, expires_at=expires_at, withheld_micro=withheld_micro, is_part=False)
            effects.append(whole)
    cycles[template.id] = cycle
    return replace(subscription, cycles=tuple(cycles.values()), ahead=ahead), effects


def _granted(subscription: Subscription, template: GrantTemplate, cycle: Cycle, at: int, amount_micro: int) -> Granted:
    return Granted(
        at,
        template,
        key_at=at,
        amount_micro=amount_micro,
        withheld_micro=0,
        expires_at=expiry_of(template, at, cycle.present.end_at, subscription.zone),
        rollover_until_at=_end_of_next(subscription, template, cycle),
        is_tied=template.expires_after is None,
        is_part=True,
    )


def _expiry(subscription: Subscription, template: GrantTemplate, cycle: Cycle) -> int:
    """When a cycle's credit expires, were it granted late: its life is counted from the cycle's beginning."""
    return expiry_of(template, cycle.present.start_at, cycle.present.end_at, subscription.zone)


def _counts_until(subscription: Subscription, template: GrantTemplate, cycle: Cycle) -> int:
    """How long a cycle's credit counts as given: as long as it lives, and to the cycle's end, for which it was given.

    Credit that is to be spent in the cycle's first days is not given anew after them.
    """
    return max(_expiry(subscription, template, cycle), cycle.present.end_at)


def _share(template: GrantTemplate, cycle: Cycle, at: int) -> Share:
    """What a cycle is worth for the time that remains of it."""
    present = cycle.present
    return Share(template.amount_micro, present.end_at - at, present.end_at - present.start_at)


def _next(subscription: Subscription, cycle: Cycle, every: Interval) -> Cycle:
    """The cycle after the present one."""
    calendar = calendar_of(every, cycle.anchor_at, subscription.zone)
    following = Period(cycle.present.end_at, start_of(calendar, cycle.number + 2))
    return replace(cycle, number=cycle.number + 1, present=_cut(subscription, following))


def _cut(subscription: Subscription, present: Period) -> Period:
    """A cycle ends with the trial in which it began: the first period counts anew."""
    if subscription.state is not State.TRIALING:
        return present
    return Period(present.start_at, min(present.end_at, subscription.period.end_at))


def _end_of_next(subscription: Subscription, template: GrantTemplate, cycle: Cycle) -> int:
    """Where the cycle ends that follows: until then lives what rolls over."""
    if template.every is None:
        return NEVER_AT
    if subscription.state is State.TRIALING and cycle.present.end_at == subscription.period.end_at:
        return start_of(calendar_of(template.every, cycle.present.end_at, subscription.zone), 1)
    return _next(subscription, cycle, template.every).present.end_at


def _cycle_at(subscription: Subscription, template: GrantTemplate, every: Interval, at: int, anchor_at: int) -> Cycle:
    """The cycle that a template of new terms has `at`; where one begins just then, it has still to be granted."""
    kin = [cycle for known, cycle in _present(subscription) if known == every]
    goes_on = anchor_at == subscription.anchor_at
    for cycle in kin:
        if cycle.template_id == template.id and (goes_on or cycle.present.start_at == at):
            return cycle
    if goes_on and kin and kin[0].present.end_at <= at:  # what runs now was not granted, by whatever name
        return replace(kin[0], template_id=template.id)
    kin += [former.cycle for former in subscription.former if former.every == every]
    if goes_on and kin:
        cycle = replace(_running(subscription, kin[0], every, at), template_id=template.id)
    else:
        cycle = _counted(subscription, template.id, calendar_of(every, anchor_at, subscription.zone), at)
    if cycle.present.start_at == at:
        return replace(cycle, number=cycle.number - 1, present=Period(at, at))
    return replace(cycle, present=_cut(subscription, cycle.present))


def _present(subscription: Subscription) -> list[tuple[Interval, Cycle]]:
    """The present cycles, each with its length."""
    every = {template.id: template.every for template in subscription.terms.grants}
    pairs = [(every[cycle.template_id], cycle) for cycle in subscription.cycles]
    return [(interval, cycle) for interval, cycle in pairs if interval is not None]


def _left(subscription: Subscription, terms: SubscriptionTerms) -> tuple[Former, ...]:
    """A cycle of each length that the subscription has had and that other terms do not have.

    A pause moves what runs in a period away from the calendar, which is counted back from the period's end then. So
    cycles of one length run together, those of other terms too: else a change after a pause would give a part of a
    cycle more than the period has.
    """
    had = [*subscription.former, *(Former(every, cycle) for every, cycle in _present(subscription))]
    kept = {template.every for template in terms.grants}
    return tuple({former.every: former for former in had if former.every not in kept}.values())[-MAX_FORMER:]


def _running(subscription: Subscription, cycle: Cycle, every: Interval, at: int) -> Cycle:
    """The cycle that runs `at`, by one that ran before."""
    if at < cycle.present.end_at:
        return cycle
    calendar = calendar_of(every, cycle.anchor_at, subscription.zone)
    number = period_number(calendar, at)
    if number <= cycle.number + 1:
        return _next(subscription, cycle, every)
    return replace(cycle, number=number, present=_cut(subscription, nth_period(calendar, number)))


def _counted(subscription: Subscription, template_id: UUID, calendar: Calendar, at: int) -> Cycle:
    """The cycle that runs `at` by the calendar; one that is as long as the period is the period."""
    number, period = period_number(calendar, at), subscription.period
    is_the_period = subscription.state is State.ACTIVE and calendar == subscription.calendar
    if is_the_period and period.start_at <= at < period.end_at:
        return Cycle(template_id, calendar.anchor_at, period_number(calendar, period.end_at) - 1, period)
    return Cycle(template_id, calendar.anchor_at, number, nth_period(calendar, number))


def _moved(subscription: Subscription, cycle: Cycle, every: Interval, by_microseconds: int) -> Cycle:
    calendar = calendar_of(every, cycle.anchor_at, subscription.zone)
    period_end_at = subscription.period.end_at
    present = Period(cycle.present.start_at + by_microseconds, cycle.present.end_at + by_microseconds)
    # The first cycle that begins when the period is over keeps its distance from the period's end.
    first = max(cycle.number + 1, period_number(calendar, period_end_at - 1) + 1)
    begins_at = cycle.present.end_at if first == cycle.number + 1 else start_of(calendar, first)
    anchor_at = begins_at + by_microseconds
    return replace(cycle, anchor_at=anchor_at, number=cycle.number - first, present=present)
