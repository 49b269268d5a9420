"""Bodies of the plan and variant routes."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from app.metering.schemas import PriceBody, ShownTerms, Value, show_price, show_value
from app.plans.store import Grant, IncludedFeature, OwnPrice, Variant
from app.plans.tables import Plan
from app.rules.entitlement import OveragePolicy
from app.rules.periods import IntervalUnit
from app.rules.pricing import Price
from app.rules.terms import BillingMode, PlanKind
from app.web.amounts import CreditsAboveZero, CreditsFromZero, UnitLimit, amount_or_none
from app.web.fields import IntervalCount, Key, Name, Priority
from app.wire.ids import show

DEFAULT_PRIORITY = 100
MAX_FEATURES = 1000
MAX_PRICES = 100
"""Of one feature in one version."""
MAX_GRANTS = 20
MAX_DAYS = 366
DEFAULT_DAYS = 3

Days = Annotated[int, Meta(ge=0, le=MAX_DAYS)]


class NewPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A plan to be made: the `base` that customers are on, or an `addon` that goes beside it."""

    key: Key
    name: Name
    kind: PlanKind = PlanKind.BASE


class PlanChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to change of a plan. Its key and its kind stay: customers are on it."""

    name: Name


class PlanBody(msgspec.Struct, frozen=True):
    """A plan."""

    plan_id: str
    key: str
    name: str
    kind: PlanKind
    created_at: datetime


class Lifetime(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long credit lives, by the calendar."""

    interval: IntervalUnit
    interval_count: IntervalCount = 1


class RolloverTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept of what is left at the end of a cycle: `percent` of it, at most `cap`, to the end of the next."""

    percent: Annotated[int, Meta(ge=1, le=100)]
    cap: CreditsAboveZero | None = None


class GrantTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Credit that a variant gives its subscribers: in every cycle of its `interval`, or `once`, without one.

    It expires at the end of its cycle, or after `expires_after`; what is granted once and does not say lives for ever.
    The `key` says which grant of the variant's other versions it is; without one it is called by its place: "1", "2".
    With an `accumulation_cap` as much is granted as lifts what the subscriber holds of plans' credit to the cap.
    """

    amount: CreditsAboveZero
    key: Key | None = None
    interval: IntervalUnit | None = None
    interval_count: IntervalCount | None = None
    once: bool = False
    priority: Priority = DEFAULT_PRIORITY
    expires_after: Lifetime | None = None
    rollover: RolloverTerms | None = None
    accumulation_cap: CreditsAboveZero | None = None


class FeatureInclusion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A feature that a variant includes, on its default terms, or on its own: `price`, several `prices`, `value`.

    `limit` is how many units may be used in a period, in place of the feature's default. `overage_limit` goes with the
    overage policy: how many credits below zero usage may bring the balance; none = any number.
    """

    feature_key: Key
    price: PriceBody | None = None
    prices: Annotated[list[PriceBody], Meta(max_length=MAX_PRICES)] = []
    overage_policy: OveragePolicy | None = None
    overage_limit: CreditsFromZero | None = None
    limit: UnitLimit | None = None
    value: Value | msgspec.UnsetType = msgspec.UNSET


class VersionTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All terms of a version of a variant. What is left out has its default, not what the version before says.

    `renewal_due_days` before a period ends its renewal is announced; where a `prepaid` one is not renewed by then,
    `grace_period_days` are left, in which usage goes on with `allow_usage_while_overdue`. With `usable_while_paused`
    credit that is not tied to the subscription's time can be spent while it is paused.
    """

    interval: IntervalUnit
    interval_count: IntervalCount = 1
    billing_mode: BillingMode = BillingMode.PREPAID
    trial_days: Days = 0
    renewal_due_days: Days = DEFAULT_DAYS
    grace_period_days: Days = DEFAULT_DAYS
    allow_usage_while_overdue: bool = False
    usable_while_paused: bool = False
    overage_policy: OveragePolicy = OveragePolicy.BLOCK
    overage_limit: CreditsFromZero | None = None
    grants: Annotated[list[GrantTerms], Meta(max_length=MAX_GRANTS)] = []
    features: Annotated[list[FeatureInclusion], Meta(max_length=MAX_FEATURES)] = []


class VariantTerms(VersionTerms, frozen=True, kw_only=True):
    """A variant to be made, with its first version."""

    key: Key


class VariantBody(msgspec.Struct, frozen=True):
    """A variant at one of its versions, by default the newest. `plan_variant_id` is what subscriptions name.

    `created_at` is when the variant was made, `published_at` when this version was.
    """

    plan_variant_id: str
    plan_key: str
    key: str
    version: int
    interval: IntervalUnit
    interval_count: int
    billing_mode: BillingMode
    trial_days: int
    renewal_due_days: int
    grace_period_days: int
    allow_usage_while_overdue: bool
    usable_while_paused: bool
    overage_policy: OveragePolicy
    grants: list[GrantTerms]
    features: list[FeatureInclusion]
    created_at: datetime
    published_at: datetime
    plan_kind: PlanKind
    overage_limit: CreditsFromZero | None = None


def show_plan(plan: Plan) -> PlanBody:
    """The plan as the API shows it."""
    return PlanBody(show("plan", plan.id), plan.key, plan.name, PlanKind(plan.kind), plan.created_at)


def show_variant(variant: Variant, grants: list[Grant], included: list[IncludedFeature]) -> VariantBody:
    """The variant as the API shows it."""
    return VariantBody(
        plan_variant_id=show("var", variant.id),
        plan_key=variant.plan_key,
        plan_kind=PlanKind(variant.plan_kind),
        key=variant.key,
        version=variant.version,
        interval=IntervalUnit(variant.interval_unit),
        interval_count=variant.interval_count,
        billing_mode=BillingMode(variant.billing_mode),
        trial_days=variant.trial_days,
        renewal_due_days=variant.renewal_due_days,
        grace_period_days=variant.grace_period_days,
        allow_usage_while_overdue=variant.allow_usage_while_overdue,
        usable_while_paused=variant.usable_while_paused,
        overage_policy=OveragePolicy(variant.overage_policy),
        grants=[_show_grant(grant) for grant in grants],
        features=[_show_included(feature) for feature in included],
        created_at=variant.created_at,
        published_at=variant.published_at,
        overage_limit=amount_or_none(CreditsFromZero, variant.overage_limit_micro),
    )


def _show_grant(grant: Grant) -> GrantTerms:
    lifetime, rollover = None, None
    if grant.expires_after_unit is not None and grant.expires_after_count is not None:
        lifetime = Lifetime(IntervalUnit(grant.expires_after_unit), grant.expires_after_count)
    if grant.rollover_percent is not None:
        rollover = RolloverTerms(grant.rollover_percent, amount_or_none(CreditsAboveZero, grant.rollover_cap_micro))
    return GrantTerms(
        amount=CreditsAboveZero(grant.amount_micro),
        key=grant.key,
        interval=None if grant.interval_unit is None else IntervalUnit(grant.interval_unit),
        interval_count=grant.interval_count,
        once=grant.once,
        priority=grant.priority,
        expires_after=lifetime,
        rollover=rollover,
        accumulation_cap=amount_or_none(CreditsAboveZero, grant.accumulation_cap_micro),
    )


def _show_included(feature: IncludedFeature) -> FeatureInclusion:
    policy = None if feature.overage_policy is None else OveragePolicy(feature.overage_policy)
    prices = [_show_own(price) for price in feature.prices]
    overage = amount_or_none(CreditsFromZero, feature.overage_limit_micro)
    limits = overage, amount_or_none(UnitLimit, feature.limit_units_micro)
    value = show_value(feature.value)
    if len(prices) == 1:
        return FeatureInclusion(feature.feature_key, prices[0], [], policy, *limits, value)
    return FeatureInclusion(feature.feature_key, None, prices, policy, *limits, value)


def _show_own(own: OwnPrice) -> PriceBody:
    """As it was sent: what holds for everybody and from the beginning does not say so."""
    terms = ShownTerms()
    if match := msgspec.json.decode(own.match, type=dict[str, str]):
        terms["match"] = match
    if own.effective_at > own.created_at:
        terms["effective_at"] = own.effective_at
    return show_price(msgspec.json.decode(own.price, type=Price), **terms)
