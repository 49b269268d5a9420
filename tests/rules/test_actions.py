"""What clients do: nobody earns by it, nothing is lost by it, and doing it twice is doing it once."""

from contextlib import suppress
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.rules.actions import ActionRefused, Arguments, Refusal, act, possible_actions
from app.rules.agenda import catch_up, next_at
from app.rules.effects import Announced, Billed, BlocksFrozen, BlocksMoved, Effect, Notice, PeriodTurned, TermsChanged
from app.rules.lifecycle import Action, IllegalMove, State, legal_actions
from app.rules.moments import NEVER_AT, to_at
from app.rules.periods import IntervalUnit, Period, days_after
from app.rules.subscriptions import Contract, Subscription, calendar_of, expiry_of, subscribe
from app.rules.terms import GrantTemplate, Interval, SubscriptionTerms
from tests.rules.laws import LAW
from tests.rules.subscribing import (
    DAY,
    HOUR,
    MONTHLY,
    PREPAID,
    STARTS_AT,
    YEARLY,
    Doing,
    amounts,
    grant,
    granted,
    intervals,
    live,
    lives,
    plan,
    started,
    total,
    variants,
    waits,
)

NOTHING = Arguments()
OF_ARGUMENTS = {Refusal.PERIOD_NOT_BEGUN, Refusal.SAME_TERMS, Refusal.NO_TERMS}
"""Refusals that other arguments avoid."""
END_AT = days_after(STARTS_AT, 28, "UTC")
"""Of the first month."""


def done(subscription: Subscription, action: Action, at: int, terms: SubscriptionTerms | None = None) -> Subscription:
    """The subscription afterwards."""
    return act(subscription, action, Arguments(terms), at)[0]


@LAW
@given(lives(), waits, st.sampled_from(Action), variants)
def test_what_is_refused_changes_nothing(
    life: tuple[Subscription, list[Doing]], wait: int, action: Action, terms: SubscriptionTerms
) -> None:
    """51: the refusal names the state and what is possible; what is possible is done, or refused for another reason."""
    new, doings = life
    subscription = live(new, doings, STARTS_AT).subscription
    at = STARTS_AT + sum(doing.after_microseconds for doing in doings) + wait
    present = catch_up(subscription, at)[0]
    before = msgspec.json.encode(subscription)
    if action in legal_actions(present.state):
        with suppress(ActionRefused):
            assert next_at(act(subscription, action, Arguments(terms), at)[0]) > at
    else:
        with pytest.raises(IllegalMove) as refused:
            act(subscription, action, Arguments(terms), at)
        assert (refused.value.state, refused.value.legal) == (present.state, legal_actions(present.state))
    assert msgspec.json.encode(subscription) == before


@LAW
@given(lives(), waits, variants)
def test_what_is_said_to_be_possible_is_done(
    life: tuple[Subscription, list[Doing]], wait: int, terms: SubscriptionTerms
) -> None:
    """Or refused for what it was given; and what the state knows beside it is refused whatever it is given."""
    new, doings = life
    subscription = live(new, doings, STARTS_AT).subscription
    at = STARTS_AT + sum(doing.after_microseconds for doing in doings) + wait
    present = catch_up(subscription, at)[0]
    possible = possible_actions(subscription, at)
    assert {*possible} <= {*legal_actions(present.state)}
    indexes = (None, present.period_index, present.period_index + 1)
    for action in legal_actions(present.state):
        for arguments in map(Arguments, (None, present.terms, terms) * 2, indexes * 2, [False] * 3 + [True] * 3):
            why = why_refused(present, action, arguments, at)
            # A change to another variant begins a period, or wants a payment, where the next one is paid for.
            is_of_arguments = why in OF_ARGUMENTS or (action is Action.CHANGE and why is Refusal.PAID_AHEAD)
            if action in possible:
                assert why is None or is_of_arguments
            else:
                assert why is not None


def why_refused(subscription: Subscription, action: Action, arguments: Arguments, at: int) -> Refusal | None:
    """Why that is refused; None where it is done."""
    try:
        act(subscription, action, arguments, at)
    except ActionRefused as refused:
        return refused.refusal
    return None


@LAW
@given(
    st.lists(st.tuples(waits, amounts), max_size=8),
    amounts,
    st.booleans(),
    st.integers(STARTS_AT, STARTS_AT + 366 * DAY),
    st.sampled_from((MONTHLY, YEARLY)),
)
def test_changes_never_give_more_than_the_highest_plan(
    changes: list[tuple[int, int]],
    first: int,
    pauses: bool,  # noqa: FBT001 - both are tried
    at: int,
    interval: Interval,
) -> None:
    """50: within one period, whatever a customer changes to and however often, paused in between or not.

    Months differ in length: a period may be longer than the month that ends where a pause has moved its end.
    """
    subscription, effects = started(plan(0, grant(0, first, interval), interval=interval), at=at), list[Effect]()
    highest = first
    for number, (wait, amount) in enumerate(changes, 1):
        at += wait // 60
        if pauses and number % 2:
            subscription = done(subscription, Action.PAUSE, at)
            at += wait
            subscription = done(subscription, Action.RESUME, at)
        if subscription.period.end_at <= at:
            return
        other = plan(number, grant(number, amount, interval), interval=interval)
        subscription, more = act(subscription, Action.CHANGE, Arguments(other), at)
        effects += more
        highest = max(highest, amount)
        _, to_come = catch_up(subscription, subscription.period.end_at - 1)
        assert first + total([*effects, *to_come]) <= highest
    # What was given ahead has expired with the period: the next one gives what its plan says.
    _, following = catch_up(subscription, subscription.period.end_at)
    assert total(following) == subscription.terms.grants[0].amount_micro


def test_a_pause_adds_no_part_of_a_cycle() -> None:
    """January's 31 days, moved by a pause to where the month before their end has only 28."""
    at = to_at(datetime(2026, 1, 1, 9, tzinfo=UTC))
    subscription = done(started(plan(1, grant(1, 1000)), at=at), Action.PAUSE, at)
    resumed = done(subscription, Action.RESUME, at + 44 * DAY)
    for grants in ((grant(2, 1000),), (grant(2, 500), grant(3, 500))):
        changed, effects = act(resumed, Action.CHANGE, Arguments(plan(2, *grants)), at + 45 * DAY)
        _, to_come = catch_up(changed, changed.period.end_at - 1)
        assert total([*effects, *to_come]) == 0
    # Nor where the plan before it had no credit by the month.
    weekly = done(started(plan(1, grant(1, 7, Interval(IntervalUnit.WEEK))), at=at), Action.PAUSE, at)
    resumed = done(weekly, Action.RESUME, at + 44 * DAY)
    changed, effects = act(resumed, Action.CHANGE, Arguments(plan(2, grant(2, 1000))), at + 45 * DAY)
    _, to_come = catch_up(changed, changed.period.end_at - 1)
    assert total([*effects, *to_come]) < 1000


stays = st.tuples(st.integers(0, 50 * DAY), st.integers(0, 90 * DAY), st.integers(0, 2))
"""How long until a pause, how long that is, and what is changed to afterwards."""


@LAW
@given(st.lists(intervals, min_size=3, max_size=3), st.lists(stays, min_size=1, max_size=4), st.integers(0, 50 * DAY))
def test_who_comes_back_finds_the_cycles_of_who_stayed(
    every: list[Interval], life: list[tuple[int, int, int]], wait: int
) -> None:
    """50: pauses move cycles away from the calendar, those of plans too that the customer had before; so a change to
    and fro is worth nothing.
    """  # noqa: D205 - one sentence more
    plans = [plan(n, grant(n, 1000, each), interval=YEARLY) for n, each in enumerate(every)]
    stayed = changed = started(plans[0])
    at = STARTS_AT
    for until_pause, paused_for, number in life:
        at += until_pause
        stayed, changed = (done(each, Action.PAUSE, at) for each in (stayed, changed))
        at += paused_for
        stayed, changed = (done(each, Action.RESUME, at) for each in (stayed, changed))
        at += until_pause // 2
        with suppress(ActionRefused):
            changed = done(changed, Action.CHANGE, at, plans[number])
    at += wait
    with suppress(ActionRefused):
        changed = done(changed, Action.CHANGE, at, plans[0])
    stayed, changed = catch_up(stayed, at)[0], catch_up(changed, at)[0]
    assert changed.period == stayed.period
    assert [cycle.present for cycle in changed.cycles] == [cycle.present for cycle in stayed.cycles]
    to_come = [catch_up(each, stayed.period.end_at + 400 * DAY)[0].cycles for each in (stayed, changed)]
    assert to_come[0] == to_come[1]


@LAW
@given(st.tuples(intervals, amounts, intervals), st.tuples(intervals, amounts, intervals), st.integers(0, 400 * DAY))
def test_to_and_fro_gives_no_more_than_the_better_plan(
    one: tuple[Interval, int, Interval], other: tuple[Interval, int, Interval], wait: int
) -> None:
    """Nobody earns by cycling, whatever intervals plans and grants have: a cycle's credit is held once at most."""
    here, there = (plan(n, grant(n, a, every), interval=i) for n, (i, a, every) in enumerate((one, other)))
    at = STARTS_AT + wait
    subscription, _ = catch_up(started(here), at)
    present = subscription.cycles[0].present
    held = one[1] * (present.end_at - at) // (present.end_at - present.start_at)
    once, first = act(subscription, Action.CHANGE, Arguments(there), at)
    back, second = act(once, Action.CHANGE, Arguments(here), at)
    again, third = act(back, Action.CHANGE, Arguments(there), at)
    assert held + total([*first, *second, *third]) <= max(one[1], other[1])
    assert total(third) == 0
    (_, stayed), (_, changed) = catch_up(once, at + 30 * DAY), catch_up(again, at + 30 * DAY)
    assert total(changed) <= total(stayed)


@LAW
@given(
    st.lists(st.tuples(amounts, st.sampled_from([MONTHLY, YEARLY]), st.integers(1, 60)), min_size=2, max_size=3),
    st.lists(st.tuples(st.integers(0, 90), st.integers(0, 2)), min_size=2, max_size=6),
)
def test_how_long_credit_lives_earns_nothing(
    credit: list[tuple[int, Interval, int]], changes: list[tuple[int, int]]
) -> None:
    """Who spends it in the first days of its cycle has had it for all of the cycle, whatever is changed to whatever."""
    given_in_all: list[int] = []
    for is_short in (True, False):
        grants = [grant(n, amount, every, days if is_short else None) for n, (amount, every, days) in enumerate(credit)]
        plans = [plan(n, each, interval=YEARLY) for n, each in enumerate(grants)]
        doings = [Doing(days * DAY, Action.CHANGE, Arguments(plans[n % len(plans)])) for days, n in changes]
        given_in_all.append(total(live(started(plans[0]), doings, STARTS_AT).effects))
    assert given_in_all[0] <= given_in_all[1]


@pytest.mark.parametrize(
    "credit", [grant(2, 12_000, YEARLY), grant(2, 12_000, YEARLY, days=1000), grant(2, 12_000, YEARLY, days=7)]
)
def test_a_years_credit_is_not_given_again_month_by_month(credit: GrantTemplate) -> None:
    """To a yearly plan and back: what was given for the year counts against what the months give."""
    monthly = plan(1, grant(1, 1000))
    yearly = plan(2, credit, interval=YEARLY)
    subscription, first = act(started(monthly), Action.CHANGE, Arguments(yearly), STARTS_AT)
    assert total(first) == 11_000
    back, second = act(subscription, Action.CHANGE, Arguments(monthly), STARTS_AT)
    _, later = catch_up(back, STARTS_AT + 364 * DAY)
    assert total(second) == total(later) == 0
    _, following = catch_up(back, STARTS_AT + 366 * DAY)
    assert total(following) == 1000
    # Nor by way of a third plan, whose own cycle ends long before the year does.
    other = done(back, Action.CHANGE, STARTS_AT + DAY, plan(3, grant(3, 1000)))
    assert total(catch_up(other, STARTS_AT + 300 * DAY)[1]) == 0


@LAW
@given(variants, st.lists(st.tuples(st.integers(1, 40 * DAY), st.integers(0, 200 * DAY)), min_size=1, max_size=4))
def test_a_pause_keeps_what_remains(terms: SubscriptionTerms, pauses: list[tuple[int, int]]) -> None:
    """Of the period and of each cycle, and it adds no grant to the period: however often, however long."""
    running = replace(terms, billing_mode=plan(1).billing_mode)
    subscription, at = started(running), STARTS_AT
    for running_for, paused_for in pauses:
        at += running_for
        subscription, _ = catch_up(subscription, at)
        _, unpaused = catch_up(subscription, subscription.period.end_at - 1)
        paused, stopped = act(subscription, Action.PAUSE, NOTHING, at)
        assert BlocksFrozen(at) in stopped
        assert next_at(paused) == NEVER_AT
        at += paused_for
        resumed, effects = act(paused, Action.RESUME, NOTHING, at)
        assert BlocksMoved(at, paused_for) in effects
        assert resumed.period.end_at == subscription.period.end_at + paused_for == resumed.anchor_at
        ends = [cycle.present.end_at + paused_for for cycle in subscription.cycles]
        assert [cycle.present.end_at for cycle in resumed.cycles] == ends
        _, following = catch_up(resumed, resumed.period.end_at - 1)
        assert len(granted(following)) == len(granted(unpaused))
        assert all(each.key_at < each.expires_at for each in granted(following))
        subscription = resumed


@LAW
@given(st.one_of(st.integers(0, 31 * DAY), st.integers(27 * DAY, 31 * DAY)), st.lists(waits, max_size=4))
def test_renewing_twice_or_late_is_renewing_once(first: int, later: list[int]) -> None:
    """48: a renewal names the period that it renews; the anchor stays, however late it comes within the grace."""
    terms = plan(1, grant(1, 1000), mode=PREPAID)
    at, named = STARTS_AT + min(first, 31 * DAY - 1), Arguments(period_index=0)
    renewed, effects = act(started(terms), Action.RENEW, named, at)
    for wait in later:
        at += wait // 60
        renewed, more = act(renewed, Action.RENEW, named, at)
        effects += more
    at = max(at, END_AT)
    renewed, more = catch_up(renewed, at)
    assert (renewed.state, renewed.period_index, renewed.anchor_at) == (State.ACTIVE, 1, STARTS_AT)
    assert (renewed.period.start_at, total([*effects, *more])) == (END_AT, 1000)
    assert not renewed.is_renewed


def test_an_upgrade_gives_the_difference_for_what_remains() -> None:
    """Half of a month of 28 days; the parts of several grants sum to it exactly."""
    small, large = plan(1, grant(1, 1000)), plan(2, grant(2, 1501), grant(3, 1000))
    at = STARTS_AT + 14 * DAY
    subscription, effects = act(started(small), Action.CHANGE, Arguments(large), at)
    credit = granted(effects)
    assert [each.amount_micro for each in credit] == [450, 300]
    assert all((each.key_at, each.expires_at) == (at, END_AT) for each in credit)
    assert effects[0] == TermsChanged(at, small.version_id, large.version_id)
    assert effects[-1] == Announced(at, Notice.UPGRADED)
    assert subscription.period == Period(STARTS_AT, END_AT)
    assert total(catch_up(subscription, END_AT)[1]) == 2501


def test_a_downgrade_waits_for_the_end_of_the_period() -> None:
    """It can be taken back until then; a cancellation takes its place, and it the place of a cancellation."""
    large, small = plan(1, grant(1, 1000)), plan(2, grant(2, 400), interval=YEARLY)
    canceled = done(started(large), Action.CANCEL_AT_PERIOD_END, STARTS_AT)
    waiting = done(canceled, Action.SCHEDULE_CHANGE, STARTS_AT, small)
    assert not waiting.cancel_at_period_end
    subscription, effects = catch_up(waiting, END_AT)
    assert (subscription.terms, subscription.anchor_at, total(effects)) == (small, END_AT, 400)
    assert [type(effect) for effect in effects[:3]] == [Billed, TermsChanged, PeriodTurned]
    kept = done(waiting, Action.UNSCHEDULE, STARTS_AT)
    assert catch_up(kept, END_AT)[0].terms is large
    ended, last = catch_up(done(waiting, Action.CANCEL_AT_PERIOD_END, STARTS_AT), END_AT)
    assert (ended.state, ended.pending) == (State.CANCELED, None)
    assert last[-1] == Announced(END_AT, Notice.CANCELED)


def test_a_change_of_interval_begins_a_period() -> None:
    """The old one is billed up to then, and what remains of its credit counts."""
    monthly, yearly = plan(1, grant(1, 1000)), plan(2, grant(2, 12_000, YEARLY), interval=YEARLY)
    at = STARTS_AT + 7 * DAY
    subscription, effects = act(started(monthly), Action.CHANGE, Arguments(yearly), at)
    assert (subscription.anchor_at, subscription.period.start_at, subscription.period_index) == (at, at, 1)
    assert effects[1] == Billed(at, Period(STARTS_AT, at))
    (given_now,) = granted(effects)
    assert (given_now.amount_micro, given_now.withheld_micro) == (12_000 - 750, 750)


def test_a_notice_that_is_due_late_is_dated_when_it_is_given() -> None:
    """Who takes a cancellation back two days before the end is told then that a renewal is due."""
    terms, at = plan(1, mode=PREPAID), END_AT - 2 * DAY
    leaving = done(started(terms), Action.CANCEL_AT_PERIOD_END, STARTS_AT)
    assert catch_up(leaving, at)[1] == []
    _, effects = act(leaving, Action.UNSCHEDULE, NOTHING, at)
    assert effects == [Announced(at, Notice.UPDATED), Announced(at, Notice.RENEWAL_DUE)]


def test_cycles_that_are_over_when_it_is_renewed() -> None:
    """Daily credit that would have expired while nobody had paid is not granted; what lives longer is."""
    daily = Interval(IntervalUnit.DAY)
    terms = plan(1, grant(1, 5, daily), grant(2, 7, daily, days=30), mode=PREPAID)
    at = END_AT + 2 * DAY + HOUR
    _, effects = act(catch_up(started(terms), at)[0], Action.RENEW, NOTHING, at)
    assert [each.key_at for each in granted(effects) if each.amount_micro == 5] == [END_AT + 2 * DAY]
    keys = [each.key_at for each in granted(effects) if each.amount_micro == 7]
    assert keys == [END_AT, END_AT + DAY, END_AT + 2 * DAY]
    assert all(each.at == at for each in granted(effects))


def test_a_late_renewal_pays_for_the_period_that_runs() -> None:
    """Whose grace is longer than its period pays for no time that has gone by, and has no credit for it."""
    daily = Interval(IntervalUnit.DAY)
    terms = plan(1, grant(1, 5, daily), interval=daily, mode=PREPAID)
    at = STARTS_AT + 3 * DAY + HOUR
    renewed, effects = act(started(terms), Action.RENEW, NOTHING, at)
    assert (renewed.state, renewed.period_index, total(effects)) == (State.ACTIVE, 1, 5)
    assert renewed.period == Period(STARTS_AT + 3 * DAY, STARTS_AT + 4 * DAY)
    lasting = plan(1, grant(1, 5, daily, 30), interval=daily, mode=PREPAID)
    assert total(act(started(lasting), Action.RENEW, NOTHING, at)[1]) == 5


def test_the_same_grants_in_a_new_version_go_on() -> None:
    """Their cycles too, where a pause has moved them away from what the calendar says."""
    first = plan(1, grant(1, 1000), interval=YEARLY)
    subscription = done(started(first), Action.PAUSE, STARTS_AT + 70 * DAY)
    subscription = done(subscription, Action.RESUME, STARTS_AT + 110 * DAY)
    at = STARTS_AT + 113 * DAY
    changed, effects = act(subscription, Action.CHANGE, Arguments(plan(2, grant(1, 1000), interval=YEARLY)), at)
    assert (changed.cycles, total(effects), changed.ahead) == (subscription.cycles, 0, None)


def test_canceling_closes_the_period() -> None:
    """A postpaid one is billed as far as it ran; who is paused has had nothing since, and its blocks go on."""
    at, later = STARTS_AT + DAY, STARTS_AT + 9 * DAY
    subscription, effects = act(started(plan(1)), Action.CANCEL, NOTHING, at)
    assert (subscription.state, effects[0]) == (State.CANCELED, Billed(at, Period(STARTS_AT, at)))
    paused = done(started(plan(1)), Action.PAUSE, at)
    _, effects = act(paused, Action.CANCEL, NOTHING, later)
    assert effects[0] == Billed(later, Period(STARTS_AT, at))
    assert BlocksMoved(later, later - at) in effects
    _, effects = act(started(plan(1, mode=PREPAID)), Action.CANCEL, NOTHING, at)
    assert not [effect for effect in effects if isinstance(effect, Billed)]


REFUSED = [
    (Action.RENEW, NOTHING, Refusal.NOT_PREPAID),
    (Action.RENEW, Arguments(period_index=1), Refusal.PERIOD_NOT_BEGUN),
    (Action.UNSCHEDULE, NOTHING, Refusal.NOTHING_SCHEDULED),
    (Action.CHANGE, NOTHING, Refusal.NO_TERMS),
    (Action.CHANGE, Arguments(plan(1)), Refusal.SAME_TERMS),
    (Action.SCHEDULE_CHANGE, Arguments(plan(1)), Refusal.SAME_TERMS),
]


@pytest.mark.parametrize(("action", "arguments", "refusal"), REFUSED)
def test_what_is_refused_for_other_reasons(action: Action, arguments: Arguments, refusal: Refusal) -> None:
    """The state knows the action, and yet there is nothing to do."""
    with pytest.raises(ActionRefused) as refused:
        act(started(plan(1)), action, arguments, STARTS_AT)
    assert refused.value.refusal is refusal


def test_what_ends_has_no_period_to_be_paid_for() -> None:
    """Neither where it is to be canceled, nor where its contract ends and does not renew."""
    leaving = done(started(plan(1, mode=PREPAID)), Action.CANCEL_AT_PERIOD_END, STARTS_AT)
    new = subscribe(plan(1, mode=PREPAID), STARTS_AT, "UTC", contract=Contract(1, renews=False))
    for subscription in (leaving, catch_up(new, STARTS_AT)[0]):
        with pytest.raises(ActionRefused) as refused:
            act(subscription, Action.RENEW, NOTHING, STARTS_AT)
        assert refused.value.refusal is Refusal.ENDS


def test_what_ends_has_no_period_to_be_changed() -> None:
    """A change that would never come is refused; one of an earlier period comes, and so does what takes a place."""
    ending, at = (
        catch_up(subscribe(plan(1), STARTS_AT, "UTC", contract=Contract(2, renews=False)), STARTS_AT)[0],
        END_AT,
    )
    assert catch_up(done(ending, Action.SCHEDULE_CHANGE, STARTS_AT, plan(2)), at)[0].terms == plan(2)
    last = catch_up(ending, at)[0]
    for subscription in (last, done(last, Action.CANCEL_AT_PERIOD_END, at)):
        with pytest.raises(ActionRefused) as refused:
            act(subscription, Action.SCHEDULE_CHANGE, Arguments(plan(2)), at)
        assert refused.value.refusal is Refusal.ENDS
    assert done(last, Action.CHANGE, at, plan(2)).terms == plan(2)


@pytest.mark.parametrize("action", [Action.SCHEDULE_CHANGE, Action.CANCEL_AT_PERIOD_END])
def test_what_is_to_happen_is_said_once(action: Action) -> None:
    """The second time nothing follows; something else takes its place."""
    scheduled = done(started(plan(1)), action, STARTS_AT, plan(2))
    assert act(scheduled, action, Arguments(plan(2)), STARTS_AT + DAY) == (scheduled, [])
    assert done(scheduled, Action.SCHEDULE_CHANGE, STARTS_AT, plan(3)).pending == plan(3)


def test_from_postpaid_to_prepaid() -> None:
    """The next period has to be paid for as the next terms say; what is over is billed as the old ones say, once."""
    waiting = done(started(plan(1)), Action.SCHEDULE_CHANGE, STARTS_AT, plan(2, mode=PREPAID))
    overdue, effects = catch_up(waiting, END_AT)
    assert (overdue.state, effects[1]) == (State.OVERDUE, Billed(END_AT, Period(STARTS_AT, END_AT)))
    renewed, effects = act(overdue, Action.RENEW, NOTHING, END_AT + DAY)
    assert (renewed.terms.billing_mode, renewed.period.start_at) == (PREPAID, END_AT)
    assert not [effect for effect in effects if isinstance(effect, Billed)]


def test_calendars_and_expiries_follow_the_terms() -> None:
    """Where nothing is said, a grant lives as long as its cycle, and one that is given once for ever."""
    assert calendar_of(MONTHLY, 5, "UTC").count == 1
    assert expiry_of(grant(1, 5), 10, 20, "UTC") == 20
    assert expiry_of(grant(1, 5, None), 10, 20, "UTC") == NEVER_AT
    assert expiry_of(grant(1, 5, days=1), 10, 20, "UTC") == 10 + DAY


def test_a_late_renewal_gives_nothing_for_time_gone_by() -> None:
    """Of credit that comes each day and lives for a day, who pays twenty days late has that of the day that runs."""
    daily = grant(1, 10, Interval(IntervalUnit.DAY), days=1)
    terms = replace(plan(1, daily, mode=PREPAID), grace_period_days=30)
    overdue, _ = catch_up(started(terms), STARTS_AT + 40 * DAY)
    late_at = overdue.period.end_at + 20 * DAY + DAY // 2
    _, effects = act(overdue, Action.RENEW, Arguments(), late_at)
    assert [(effect.amount_micro, effect.expires_at) for effect in granted(effects)] == [(10, late_at + DAY // 2)]
