"""Bodies of the plan and variant routes."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from app.metering.schemas import PriceBody, ShownTerms, Value, show_price, show_value
from app.plans.store import IncludedFeature, OwnPrice, Variant
from app.plans.tables import Plan, PlanGrant
from app.rules.entitlement import OveragePolicy
from app.rules.periods import IntervalUnit
from app.rules.pricing import Price
from app.web.amounts import Credits, UnitLimit, credits_or_none, limit_or_none
from app.web.fields import IntervalCount, Key, Name, Priority
from app.wire.ids import show

DEFAULT_PRIORITY = 100
MAX_FEATURES = 1000
MAX_PRICES = 100
"""Of one feature in one version."""


class NewPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A plan to be made."""

    key: Key
    name: Name


class PlanBody(msgspec.Struct, frozen=True):
    """A plan."""

    plan_id: str
    key: str
    name: str
    created_at: datetime


class GrantTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Credit that a variant gives its subscribers every interval."""

    amount: Credits
    interval: IntervalUnit
    interval_count: IntervalCount = 1
    priority: Priority = DEFAULT_PRIORITY


class FeatureInclusion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A feature that a variant includes, on its default terms, or on its own: `price`, several `prices`, `value`.

    `limit` is how many units may be used in a period, in place of the feature's default. `overage_limit` goes with the
    overage policy: how many credits below zero usage may bring the balance; none = any number.
    """

    feature_key: Key
    price: PriceBody | None = None
    prices: Annotated[list[PriceBody], Meta(max_length=MAX_PRICES)] = []
    overage_policy: OveragePolicy | None = None
    overage_limit: Credits | None = None
    limit: UnitLimit | None = None
    value: Value | msgspec.UnsetType = msgspec.UNSET


class VariantTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A variant to be made, with its first version."""

    key: Key
    interval: IntervalUnit
    interval_count: IntervalCount = 1
    overage_policy: OveragePolicy = OveragePolicy.BLOCK
    overage_limit: Credits | None = None
    grants: list[GrantTerms] = []
    features: Annotated[list[FeatureInclusion], Meta(max_length=MAX_FEATURES)] = []


class VariantBody(msgspec.Struct, frozen=True):
    """A variant with its present version. `plan_variant_id` is what subscriptions name."""

    plan_variant_id: str
    plan_key: str
    key: str
    version: int
    interval: IntervalUnit
    interval_count: int
    overage_policy: OveragePolicy
    grants: list[GrantTerms]
    features: list[FeatureInclusion]
    created_at: datetime
    overage_limit: Credits | None = None


def show_plan(plan: Plan) -> PlanBody:
    """The plan as the API shows it."""
    return PlanBody(show("plan", plan.id), plan.key, plan.name, plan.created_at)


def show_variant(variant: Variant, grants: list[PlanGrant], included: list[IncludedFeature]) -> VariantBody:
    """The variant as the API shows it."""
    return VariantBody(
        plan_variant_id=show("var", variant.id),
        plan_key=variant.plan_key,
        key=variant.key,
        version=variant.version,
        interval=IntervalUnit(variant.interval_unit),
        interval_count=variant.interval_count,
        overage_policy=OveragePolicy(variant.overage_policy),
        grants=[_show_grant(grant) for grant in grants],
        features=[_show_included(feature) for feature in included],
        created_at=variant.created_at,
        overage_limit=credits_or_none(variant.overage_limit_micro),
    )


def _show_grant(grant: PlanGrant) -> GrantTerms:
    interval = IntervalUnit(grant.interval_unit)
    return GrantTerms(Credits(grant.amount_micro), interval, grant.interval_count, grant.priority)


def _show_included(feature: IncludedFeature) -> FeatureInclusion:
    policy = None if feature.overage_policy is None else OveragePolicy(feature.overage_policy)
    prices = [_show_own(price) for price in feature.prices]
    limits = credits_or_none(feature.overage_limit_micro), limit_or_none(feature.limit_units_micro)
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
