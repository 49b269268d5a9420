"""Time and subscriptions: laws over random lives first, then what each moment brings."""

from itertools import pairwise
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.rules.actions import Arguments, act
from app.rules.agenda import advance, catch_up, come_back, next_at
from app.rules.effects import (
    Announced,
    Billed,
    Effect,
    Granted,
    Notice,
    PeriodTurned,
    RolloverHeld,
    RolloverLost,
    StateChanged,
)
from app.rules.lifecycle import TABLE, TERMINAL, Action, State
from app.rules.moments import NEVER_AT, to_datetime
from app.rules.periods import IntervalUnit, Period, days_after, nth_period
from app.rules.subscriptions import Subscription, calendar_of, subscribe
from app.rules.terms import Interval, SubscriptionTerms
from tests.rules.laws import LAW
from tests.rules.subscribing import (
    DAY,
    HOUR,
    MONTHLY,
    POSTPAID,
    PREPAID,
    STARTS_AT,
    YEARLY,
    ZONES,
    Doing,
    grant,
    granted,
    live,
    lives,
    moments,
    plan,
    started,
    total,
    variants,
)

END_AT = STARTS_AT + 900 * DAY


@LAW
@given(lives(), st.lists(moments, max_size=12))
def test_catching_up_is_running_on_time(life: tuple[Subscription, list[Doing]], looks: list[int]) -> None:
    """52: it does not matter when somebody looks, only what was done and when."""
    new, doings = life
    late, on_time = live(new, doings, STARTS_AT), live(new, doings, STARTS_AT, tuple(looks))
    assert on_time == late
    subscription, effects = catch_up(late.subscription, END_AT)
    steps: list[Effect] = []
    stepwise = late.subscription
    while (due_at := next_at(stepwise)) <= END_AT:
        assert advance(stepwise, due_at - 1) == (stepwise, [])
        stepwise, more = advance(stepwise, due_at)
        steps += more
    assert (stepwise, steps) == (subscription, effects)


@LAW
@given(lives())
def test_each_cycle_is_granted_once(life: tuple[Subscription, list[Doing]]) -> None:
    """46: no template twice for one cycle, nothing twice that is given once, and nothing that has expired already."""
    new, doings = life
    lived = live(new, doings, STARTS_AT)
    subscription, effects = catch_up(lived.subscription, END_AT)
    credit = granted([*lived.effects, *effects])
    keys = [(each.template.id, each.key_at) for each in credit]
    assert len(keys) == len(set(keys))
    once = [each.template.id for each in credit if each.template.id in subscription.given_once]
    assert len(once) == len(set(once))
    assert all(each.amount_micro > 0 <= each.withheld_micro for each in credit)
    assert all(
        each.key_at <= each.at < each.expires_at <= each.rollover_until_at or not each.is_tied for each in credit
    )


@LAW
@given(lives())
def test_states_move_along_the_table(life: tuple[Subscription, list[Doing]]) -> None:
    """51: one change after the other, each one that the table knows, in the order of time; the end is the end."""
    new, doings = life
    lived = live(new, doings, STARTS_AT)
    subscription, more = catch_up(lived.subscription, END_AT)
    effects, state = [*lived.effects, *more], State.SCHEDULED
    for effect in effects:
        if isinstance(effect, StateChanged):
            assert (effect.before, effect.after) == (state, TABLE[state][effect.action])
            state = effect.after
    assert state is subscription.state
    dated = [effect.at for effect in effects]
    assert dated == sorted(dated)
    if state in TERMINAL:
        assert (next_at(subscription), advance(subscription, NEVER_AT)) == (NEVER_AT, (subscription, []))


@LAW
@given(variants, st.sampled_from(ZONES), st.booleans())
def test_periods_tile(terms: SubscriptionTerms, zone: str, trial: bool) -> None:  # noqa: FBT001 - both are tried
    """47: each begins where the one before it ended, n intervals after the first; each is billed as it was."""
    postpaid = replace(terms, billing_mode=POSTPAID)
    _, effects = catch_up(subscribe(postpaid, STARTS_AT, zone, has_trial=trial), END_AT)
    turned = [effect for effect in effects if isinstance(effect, PeriodTurned)]
    assert [each.period_index for each in turned] == list(range(len(turned)))
    assert all(one.period.end_at == other.period.start_at == other.at for one, other in pairwise(turned))
    paid = turned[trial and terms.trial_days > 0 :]
    assert paid
    calendar = calendar_of(terms.interval, paid[0].at, zone)
    assert [each.period for each in paid] == [nth_period(calendar, n) for n in range(len(paid))]
    billed = [effect.period for effect in effects if isinstance(effect, Billed)]
    assert billed == [each.period for each in turned[:-1]]


def test_a_yearly_plan_gives_its_monthly_credit() -> None:
    """Twelve times a year, each for its own month, whatever the period is."""
    terms = plan(1, grant(1, 1000), interval=YEARLY)
    _, effects = catch_up(subscribe(terms, STARTS_AT, "UTC", has_trial=False), STARTS_AT + 365 * DAY - 1)
    credit = granted(effects)
    assert [to_datetime(each.at).strftime("%d %b") for each in credit[:4]] == ["31 Jan", "28 Feb", "31 Mar", "30 Apr"]
    assert len(credit) == 12
    assert all(one.expires_at == other.key_at for one, other in pairwise(credit))
    assert all(one.rollover_until_at == other.expires_at for one, other in pairwise(credit))


def test_cycles_need_not_fit_into_the_period() -> None:
    """Weekly credit of a monthly plan comes every seven days from the anchor on, across the ends of periods."""
    terms = plan(1, grant(1, 7, Interval(IntervalUnit.WEEK)))
    _, effects = catch_up(subscribe(terms, STARTS_AT, "UTC", has_trial=False), STARTS_AT + 70 * DAY)
    assert [each.at for each in granted(effects)] == [STARTS_AT + week * 7 * DAY for week in range(11)]


def test_what_is_given_once() -> None:
    """At the beginning, never again, and not to whom it was given before."""
    terms = plan(1, grant(1, 50, None), grant(2, 60, None, days=10))
    _, effects = catch_up(subscribe(terms, STARTS_AT, "UTC", has_trial=False), END_AT)
    assert [(each.amount_micro, each.expires_at) for each in granted(effects)] == [
        (50, NEVER_AT),
        (60, STARTS_AT + 10 * DAY),
    ]
    known = replace(subscribe(terms, STARTS_AT, "UTC", has_trial=False), given_once=frozenset({UUID(int=1)}))
    assert total(catch_up(known, END_AT)[1]) == 60


def test_prepaid_that_nobody_pays() -> None:
    """Told, overdue at the end of the period, expired after the grace, and no more credit."""
    subscription, effects = catch_up(started(plan(1, grant(1, 1000), mode=PREPAID)), END_AT)
    end_at = days_after(STARTS_AT, 28, "UTC")
    assert effects == [
        Announced(end_at - 3 * DAY, Notice.RENEWAL_DUE),
        StateChanged(end_at, Action.FALL_OVERDUE, State.ACTIVE, State.OVERDUE),
        RolloverHeld(end_at),
        Announced(end_at, Notice.OVERDUE),
        RolloverLost(end_at + 3 * DAY, end_at),
        StateChanged(end_at + 3 * DAY, Action.EXPIRE, State.OVERDUE, State.EXPIRED),
        Announced(end_at + 3 * DAY, Notice.EXPIRED),
    ]
    assert subscription.period == Period(STARTS_AT, end_at)


def test_postpaid_is_billed_before_it_is_granted_anew() -> None:
    """What a period leaves as debt is not paid from the credit of the next one."""
    _, effects = catch_up(started(plan(1, grant(1, 1000))), STARTS_AT + 40 * DAY)
    assert [type(effect) for effect in effects] == [Billed, PeriodTurned, Granted, Announced]


def test_trials() -> None:
    """Credit until the trial ends; then the first period, counted from there, or overdue where it is to be paid for."""
    free, paid = (replace(plan(1, grant(1, 1000), mode=mode), trial_days=14) for mode in (POSTPAID, PREPAID))
    ends_at = STARTS_AT + 14 * DAY
    subscription, effects = catch_up(subscribe(free, STARTS_AT, "UTC", has_trial=True), ends_at)
    first, second = granted(effects)
    assert (first.at, first.expires_at, second.at, second.expires_at) == (
        STARTS_AT,
        ends_at,
        ends_at,
        days_after(ends_at, 28, "UTC"),
    )
    assert first.rollover_until_at == second.expires_at
    assert (subscription.state, subscription.anchor_at) == (State.ACTIVE, ends_at)
    trialing = started(paid, has_trial=True)
    assert trialing.state is State.TRIALING
    assert advance(trialing, ends_at)[1] == [Announced(ends_at - 3 * DAY, Notice.TRIAL_ENDING)]
    assert catch_up(trialing, ends_at)[0].state is State.OVERDUE
    payer, _ = act(trialing, Action.RENEW, Arguments(), STARTS_AT + DAY)
    assert catch_up(payer, ends_at)[0].state is State.ACTIVE
    assert started(paid).state is State.ACTIVE


def test_coming_back_to_the_free_plan() -> None:
    """Into the month that runs since the first enrolment, with the key that its credit had then: so it comes once."""
    terms = plan(1, grant(1, 100), grant(2, 5, None))
    left, back_at = started(terms), STARTS_AT + 40 * DAY
    _, before = catch_up(left, STARTS_AT + 35 * DAY)
    again = replace(subscribe(terms, back_at, "UTC"), given_once=left.given_once)
    assert next_at(again) == back_at
    subscription, effects = come_back(again, left, back_at)
    (credit,) = granted(effects)
    assert (credit.at, credit.key_at, credit.expires_at) == (back_at, *_last(before))
    assert (subscription.period, subscription.anchor_at) == (Period(*_last(before)), STARTS_AT)


def _last(effects: list[Effect]) -> tuple[int, int]:
    credit = granted(effects)[-1]
    return credit.key_at, credit.expires_at


def test_a_start_that_lies_ahead() -> None:
    """Nothing before it; then as if it had been made then."""
    new = subscribe(plan(1, grant(1, 1000)), STARTS_AT, "UTC", has_trial=False)
    assert (next_at(new), advance(new, STARTS_AT - 1)) == (STARTS_AT, (new, []))
    subscription, effects = advance(new, STARTS_AT + HOUR)
    assert effects[0] == StateChanged(STARTS_AT, Action.START, State.SCHEDULED, State.ACTIVE)
    assert (subscription.period.start_at, total(effects)) == (STARTS_AT, 1000)
    assert subscription.terms.interval == MONTHLY
