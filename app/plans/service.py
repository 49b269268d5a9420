"""Making plans and variants."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from app.errors import ServiceError, invalid_value
from app.io.ids import new_id
from app.io.postgres import Transaction
from app.metering import service as metering
from app.metering.schemas import NewPrice, parse_price, parse_value
from app.metering.service import PriceTarget
from app.metering.tables import Feature
from app.plans import store
from app.plans.schemas import FeatureInclusion, NewPlan, VariantBody, VariantTerms, show_variant
from app.plans.store import Variant
from app.plans.tables import Plan, PlanFeature, PlanGrant, PlanVariant, PlanVariantVersion
from app.rules.entitlement import FeatureKind, OveragePolicy
from app.rules.periods import IntervalUnit
from app.web.amounts import Credits, optional_micro
from app.wire.codes import Code
from app.wire.ids import show

MAX_GRANTS = 1
MAX_YEARS = 100
"""Of an interval: what expires then still fits the range of moments."""
FIRST_VERSION = 1


async def create_plan(tx: Transaction, new: NewPlan, now: datetime) -> Plan:
    """A new plan. Raises ServiceError(CONFLICT)."""
    plan = Plan(environment_id=tx.environment, id=new_id(now), key=new.key, name=new.name, created_at=now)
    if not await store.insert_plan(plan):
        raise ServiceError(Code.CONFLICT, f"There is a plan with the key {new.key!r} already.")
    return plan


async def find_plan(tx: Transaction, key: str) -> Plan:
    """The plan with this key. Raises ServiceError(NOT_FOUND)."""
    plan = await store.read_plan(tx, key)
    if plan is None:
        raise ServiceError(Code.NOT_FOUND, f"No plan has the key {key!r}.")
    return plan


async def find_variant(tx: Transaction, variant_id: UUID) -> Variant:
    """The variant with this id, at its present version. Raises ServiceError(NOT_FOUND)."""
    variant = await store.read_variant(tx, variant_id)
    if variant is None:
        raise ServiceError(Code.NOT_FOUND, f"No plan variant has the id {show('var', variant_id)}.")
    return variant


async def create_variant(tx: Transaction, plan_key: str, terms: VariantTerms, now: datetime) -> VariantBody:
    """A new variant of a plan, with its first version.

    Raises ServiceError: NOT_FOUND for the plan, CONFLICT for the key, UNKNOWN_FEATURE, INVALID_VALUE,
    FEATURE_NOT_METERED for a price.
    """
    if terms.interval is IntervalUnit.YEAR and terms.interval_count > MAX_YEARS:
        raise invalid_value("interval_count", f"may be at most {MAX_YEARS} years")
    _check_grants(terms)
    _check_features(terms)
    plan = await find_plan(tx, plan_key)
    features = await metering.find_features(tx, [inclusion.feature_key for inclusion in terms.features])
    variant = PlanVariant(environment_id=tx.environment, id=new_id(now), plan_id=plan.id, key=terms.key, created_at=now)
    if not await store.insert_variant(variant):
        raise ServiceError(Code.CONFLICT, f"The plan {plan_key!r} has a variant with the key {terms.key!r} already.")
    await _publish_version(tx, variant.id, terms, features, now)
    return (await describe(tx, [await find_variant(tx, variant.id)]))[0]


async def describe(tx: Transaction, variants: Sequence[Variant]) -> list[VariantBody]:
    """Variants with what their present versions grant and include."""
    versions = [variant.version_id for variant in variants]
    grants = await store.read_grants(tx, versions)
    included = await store.read_included(tx, versions)
    return [show_variant(variant, grants[variant.version_id], included[variant.version_id]) for variant in variants]


async def _publish_version(
    tx: Transaction, variant_id: UUID, terms: VariantTerms, features: dict[str, Feature], now: datetime
) -> None:
    version = PlanVariantVersion(
        environment_id=tx.environment,
        id=new_id(now),
        variant_id=variant_id,
        version=FIRST_VERSION,
        interval_unit=terms.interval.value,
        interval_count=terms.interval_count,
        overage_policy=terms.overage_policy.value,
        created_at=now,
        overage_limit_micro=optional_micro("overage_limit", terms.overage_limit),
    )
    grants = [
        PlanGrant(
            environment_id=tx.environment,
            id=new_id(now),
            variant_version_id=version.id,
            amount_micro=grant.amount.micro,
            interval_unit=grant.interval.value,
            interval_count=grant.interval_count,
            priority=grant.priority,
        )
        for grant in terms.grants
    ]
    inclusions = [
        PlanFeature(
            environment_id=tx.environment,
            variant_version_id=version.id,
            feature_id=features[inclusion.feature_key].id,
            overage_policy=None if inclusion.overage_policy is None else inclusion.overage_policy.value,
            overage_limit_micro=optional_micro(f"features[{index}].overage_limit", inclusion.overage_limit),
            limit_units_micro=optional_micro(f"features[{index}].limit", inclusion.limit),
            value=_own_value(features[inclusion.feature_key], inclusion, f"features[{index}]"),
        )
        for index, inclusion in enumerate(terms.features)
    ]
    await store.insert_version(tx, version, grants, inclusions)
    for index, inclusion in enumerate(terms.features):
        target = PriceTarget(features[inclusion.feature_key].id, version.id)
        for number, price in enumerate(_own_prices(inclusion, f"features[{index}]", now), FIRST_VERSION):
            await metering.add_price(tx, target, price, number, now)


def _own_prices(inclusion: FeatureInclusion, field: str, now: datetime) -> list[NewPrice]:
    """The prices that a variant sets for a feature. Raises ServiceError(INVALID_VALUE)."""
    if inclusion.price is not None:
        if inclusion.prices:
            raise invalid_value(f"{field}.prices", "stands beside price: send one of them")
        price = parse_price(inclusion.price, f"{field}.price")
        metering.check_first_price(price, f"{field}.price.")
        return [price]
    prices = [parse_price(price, f"{field}.prices[{index}]") for index, price in enumerate(inclusion.prices)]
    if prices and not any(not price.match and price.effective_at is None for price in prices):
        raise invalid_value(f"{field}.prices", "must have one without match and effective_at, for all other usage")
    for index, price in enumerate(prices):
        metering.check_beginning(price, f"{field}.prices[{index}].", now)
        if any((price.match, price.effective_at) == (other.match, other.effective_at) for other in prices[:index]):
            raise invalid_value(f"{field}.prices[{index}]", "has the match and the effective_at of one before it")
    return prices


def _own_value(feature: Feature, inclusion: FeatureInclusion, field: str) -> str | None:
    """The version's own value of the feature; None = the feature's default.

    Raises ServiceError: INVALID_VALUE, FEATURE_NOT_METERED for prices and limits, which others do not have.
    """
    kind = FeatureKind(feature.kind)
    for name in ("price", "prices", "limit", "overage_limit"):
        if getattr(inclusion, name):
            metering.require_metered(kind, feature.key, f"{field}.{name}")
    return None if inclusion.value is msgspec.UNSET else parse_value(kind, inclusion.value, f"{field}.value")


def _check_grants(terms: VariantTerms) -> None:
    if len(terms.grants) > MAX_GRANTS:
        raise invalid_value("grants", f"may have at most {MAX_GRANTS} entry")
    for index, grant in enumerate(terms.grants):
        if grant.amount.micro <= 0:
            raise invalid_value(f"grants[{index}].amount", "must be greater than zero")
        if (grant.interval, grant.interval_count) != (terms.interval, terms.interval_count):
            raise invalid_value(f"grants[{index}].interval", "must be the interval of the variant")


def _check_features(terms: VariantTerms) -> None:
    _check_overage("overage_limit", terms.overage_limit, terms.overage_policy)
    seen: set[str] = set()
    for index, inclusion in enumerate(terms.features):
        if inclusion.feature_key in seen:
            raise invalid_value(f"features[{index}].feature_key", f"names {inclusion.feature_key!r} once more")
        seen.add(inclusion.feature_key)
        field = f"features[{index}].overage_limit"
        _check_overage(field, inclusion.overage_limit, inclusion.overage_policy or terms.overage_policy)


def _check_overage(field: str, limit: Credits | None, policy: OveragePolicy) -> None:
    if limit is not None and policy is OveragePolicy.BLOCK:
        raise invalid_value(field, "needs the overage_policy allow or notify beside it")
