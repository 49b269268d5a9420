"""Subscriptions for tests: plans in short, random terms, and a life made of what clients do and of time going by."""

from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from hypothesis import strategies as st

from app.rules.actions import ActionRefused, Arguments, act
from app.rules.agenda import catch_up
from app.rules.effects import Effect, Granted
from app.rules.lifecycle import BY_TIME, Action, IllegalMove
from app.rules.moments import HOUR_MICROSECONDS, to_at
from app.rules.periods import IntervalUnit
from app.rules.subscriptions import Subscription, subscribe
from app.rules.terms import BillingMode, GrantTemplate, Interval, PlanKind, SubscriptionTerms, VersionName

HOUR, DAY = HOUR_MICROSECONDS, 24 * HOUR_MICROSECONDS
STARTS_AT = to_at(datetime(2026, 1, 31, 9, tzinfo=UTC))
ZONES = ("UTC", "Europe/Berlin", "America/New_York")
MONTHLY, YEARLY = Interval(IntervalUnit.MONTH), Interval(IntervalUnit.YEAR)
PREPAID, POSTPAID = BillingMode.PREPAID, BillingMode.POSTPAID


def grant(number: int, amount_micro: int, every: Interval | None = MONTHLY, days: int | None = None) -> GrantTemplate:
    """A template by its number."""
    lifetime = None if days is None else Interval(IntervalUnit.DAY, days)
    return GrantTemplate(UUID(int=number), amount_micro, every, lifetime)


def version_name(version_id: UUID) -> VersionName:
    """A version of a plan of its own."""
    return VersionName(version_id, "plan", PlanKind.BASE, version_id, "variant", version_id, 1)


def plan(
    number: int, *grants: GrantTemplate, interval: Interval = MONTHLY, mode: BillingMode = POSTPAID
) -> SubscriptionTerms:
    """Terms by their number."""
    return SubscriptionTerms(version_name(UUID(int=number)), interval, mode, grants)


def started(terms: SubscriptionTerms, *, has_trial: bool = False, at: int = STARTS_AT) -> Subscription:
    """A subscription that has just begun, in UTC."""
    return catch_up(subscribe(terms, at, "UTC", has_trial=has_trial), at)[0]


def granted(effects: list[Effect]) -> list[Granted]:
    """What of it is credit."""
    return [effect for effect in effects if isinstance(effect, Granted)]


def total(effects: list[Effect]) -> int:
    """All credit that was granted."""
    return sum(effect.amount_micro for effect in granted(effects))


class Doing(NamedTuple):
    """What a client does, and how long after what it did before."""

    after_microseconds: int
    action: Action
    arguments: Arguments


class Life(NamedTuple):
    """A subscription and all that came of it."""

    subscription: Subscription
    effects: list[Effect]
    refused: int


def live(subscription: Subscription, doings: list[Doing], at: int, looks: tuple[int, ...] = ()) -> Life:
    """Do all of it, from `at` on; at the moments `looks` besides somebody lets time do what is due."""
    effects: list[Effect] = []
    refused = 0
    for doing in doings:
        for look_at in sorted(look for look in looks if at <= look < at + doing.after_microseconds):
            subscription, more = catch_up(subscription, look_at)
            effects += more
        at += doing.after_microseconds
        try:
            subscription, more = act(subscription, doing.action, doing.arguments, at)
        except (IllegalMove, ActionRefused):
            refused += 1
            subscription, more = catch_up(subscription, at)
        effects += more
    return Life(subscription, effects, refused)


amounts = st.integers(1, 10**12)
intervals = st.builds(Interval, st.sampled_from(IntervalUnit), st.integers(1, 3))
templates = st.builds(
    GrantTemplate,
    id=st.uuids(),
    amount_micro=amounts,
    every=st.one_of(st.none(), intervals),
    expires_after=st.one_of(st.none(), st.builds(Interval, st.just(IntervalUnit.DAY), st.integers(1, 100))),
)
variants = st.builds(
    SubscriptionTerms,
    name=st.uuids().map(version_name),
    interval=intervals,
    billing_mode=st.sampled_from(BillingMode),
    grants=st.lists(templates, max_size=3, unique_by=lambda template: template.id).map(tuple),
    trial_days=st.integers(0, 20),
    renewal_due_days=st.integers(0, 5),
    grace_period_days=st.integers(0, 5),
)
catalogues = st.lists(variants, min_size=1, max_size=3, unique_by=lambda terms: terms.version_id)
waits = st.one_of(st.integers(0, 2 * DAY), st.integers(0, 60 * DAY), st.sampled_from([0, HOUR, DAY, 31 * DAY]))
moments = st.integers(STARTS_AT, STARTS_AT + 900 * DAY)


@st.composite
def lives(draw: st.DrawFn) -> tuple[Subscription, list[Doing]]:
    """A subscription that is still to start, and what clients do to it."""
    catalogue = draw(catalogues)
    actions = st.sampled_from([action for action in Action if action not in BY_TIME])
    arguments = st.builds(Arguments, st.sampled_from(catalogue), st.one_of(st.none(), st.integers(0, 5)))
    doings = draw(st.lists(st.builds(Doing, waits, actions, arguments), max_size=8))
    new = subscribe(catalogue[0], STARTS_AT, draw(st.sampled_from(ZONES)), has_trial=draw(st.booleans()))
    return new, doings
