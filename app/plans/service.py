"""Making plans and variants, and publishing versions of these."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from app.errors import ServiceError, invalid_value
from app.io.ids import new_id
from app.io.postgres import Transaction
from app.metering import service as metering
from app.metering.service import PriceTarget
from app.metering.tables import Feature
from app.plans import store
from app.plans.checking import check_terms, cycle_of, keys_of, own_prices, own_value, why_not_free
from app.plans.schemas import (
    GrantTerms,
    NewPlan,
    PlanChange,
    VariantBody,
    VariantTerms,
    VersionTerms,
    show_plan,
    show_variant,
)
from app.plans.store import Placed, Variant
from app.plans.tables import Plan, PlanFeature, PlanGrant, PlanVariant, PlanVariantVersion
from app.plans.terms import name_of, terms_of
from app.rules.terms import PlanKind, SubscriptionTerms, VersionName
from app.trail import audit
from app.web.amounts import optional_micro
from app.wire.codes import Code
from app.wire.ids import show

FIRST_VERSION = 1


async def create_plan(tx: Transaction, new: NewPlan, now: datetime) -> Plan:
    """A new plan. Raises ServiceError(CONFLICT)."""
    plan = Plan(
        environment_id=tx.environment,
        id=new_id(now),
        key=new.key,
        name=new.name,
        kind=new.kind.value,
        created_at=now,
    )
    if not await store.insert_plan(plan):
        raise ServiceError(Code.CONFLICT, f"There is a plan with the key {new.key!r} already.")
    audit.changed(tx, "plan", new.key)
    return plan


async def find_plan(tx: Transaction, key: str) -> Plan:
    """The plan with this key. Raises ServiceError(NOT_FOUND)."""
    plan = await store.read_plan(tx, key)
    if plan is None:
        raise ServiceError(Code.NOT_FOUND, f"No plan has the key {key!r}.")
    return plan


async def change_plan(tx: Transaction, key: str, change: PlanChange) -> Plan:
    """The plan with another name. Raises ServiceError(NOT_FOUND)."""
    before = await store.lock_plan(tx, key)
    if before is not None:
        audit.changed(tx, "plan", key, before=show_plan(before))
    await store.rename_plan(tx, key, change.name)
    return await find_plan(tx, key)


async def find_variant(tx: Transaction, variant_id: UUID) -> Variant:
    """The variant with this id, at its present version. Raises ServiceError(NOT_FOUND)."""
    variant = await store.read_variant(tx, tx.environment, variant_id)
    if variant is None:
        raise ServiceError(Code.NOT_FOUND, f"No plan variant has the id {show('var', variant_id)}.")
    return variant


async def read_terms(tx: Transaction, versions: Placed) -> dict[UUID, SubscriptionTerms]:
    """What versions say of periods, payment and credit, by version; one that there is not is left out.

    They may be of several environments: the flusher asks once for all.
    """
    variants = await store.read_versions(tx, versions)
    grants = await store.read_grants(tx, versions)
    return {variant.version_id: terms_of(variant, grants[variant.version_id]) for variant in variants}


async def read_names(tx: Transaction, environment_id: UUID, version_ids: Sequence[UUID]) -> dict[UUID, VersionName]:
    """Which versions of what they are, by version; one that there is not is left out."""
    variants = await store.read_versions(tx, [(environment_id, version_id) for version_id in version_ids])
    return {variant.version_id: name_of(variant) for variant in variants}


async def read_newest_terms(tx: Transaction, variants: Placed) -> dict[UUID, SubscriptionTerms]:
    """What the newest versions of variants say, by variant; one that there is not is left out."""
    newest = await store.read_newest_versions(tx, variants)
    terms = await read_terms(tx, [(environment_id, version_id) for environment_id, _, version_id in newest])
    return {variant_id: terms[version_id] for _, variant_id, version_id in newest}


async def hold_variant(tx: Transaction, variant_id: UUID) -> Variant:
    """The same, and no other version of it is published until the transaction ends. Raises ServiceError(NOT_FOUND)."""
    await store.hold_variant(tx, variant_id)
    return await find_variant(tx, variant_id)  # a statement of its own: it sees what the lock has waited for


async def create_variant(tx: Transaction, plan_key: str, terms: VariantTerms, now: datetime) -> VariantBody:
    """A new variant of a plan, with its first version.

    Raises ServiceError: NOT_FOUND for the plan, CONFLICT for the key, UNKNOWN_FEATURE, INVALID_VALUE,
    FEATURE_NOT_METERED for a price.
    """
    check_terms(terms)
    plan = await find_plan(tx, plan_key)
    features = await metering.find_features(tx, [inclusion.feature_key for inclusion in terms.features])
    variant = PlanVariant(environment_id=tx.environment, id=new_id(now), plan_id=plan.id, key=terms.key, created_at=now)
    if not await store.insert_variant(variant):
        raise ServiceError(Code.CONFLICT, f"The plan {plan_key!r} has a variant with the key {terms.key!r} already.")
    version = _version_of(tx, variant.id, FIRST_VERSION, terms, now)
    await _insert_version(tx, version, terms, features)
    audit.changed(tx, "plan_variant", f"{plan_key}/{terms.key}")
    return await _describe_present(tx, variant.id)


async def publish_version(tx: Transaction, plan_key: str, key: str, terms: VersionTerms, now: datetime) -> VariantBody:
    """The next version of a variant, for whoever subscribes from now on; subscribers stay on theirs.

    Raises ServiceError as `create_variant` does; NOT_FOUND for the variant too, INVALID_VALUE for what the free plan of
    the environment must not say.
    """
    check_terms(terms)
    features = await metering.find_features(tx, [inclusion.feature_key for inclusion in terms.features])
    variant_id = await store.lock_variant_id(tx, plan_key, key)
    if variant_id is None:
        raise await _no_variant(tx, plan_key, key)
    before = await find_variant(tx, variant_id)  # a statement of its own: it sees what the lock has waited for
    await _require_still_free(tx, before, terms)
    audit.changed(tx, "plan_variant", f"{plan_key}/{key}", before=await _describe_present(tx, variant_id))
    await _insert_version(tx, _version_of(tx, variant_id, before.version + 1, terms, now), terms, features)
    return await _describe_present(tx, variant_id)


async def show_present(tx: Transaction, plan_key: str, key: str) -> VariantBody:
    """A variant at its present version. Raises ServiceError(NOT_FOUND)."""
    return await _describe_present(tx, await find_variant_id(tx, plan_key, key))


async def _require_still_free(tx: Transaction, variant: Variant, terms: VersionTerms) -> None:
    """Whether the free plan of the environment, if it is this variant, can have these terms."""
    why = why_not_free(PlanKind(variant.plan_kind), terms.billing_mode, terms.trial_days)
    if why is not None and await store.is_free_variant(tx, variant.id):
        raise invalid_value(why.term, f"{why.message}, and this variant is the environment's free plan")


async def list_versions(tx: Transaction, plan_key: str, key: str, before: int | None, limit: int) -> list[VariantBody]:
    """Versions of a variant, newest first, below the version `before`. Raises ServiceError(NOT_FOUND)."""
    variant_id = await find_variant_id(tx, plan_key, key)
    return await describe(tx, await store.list_versions(tx, variant_id, before, limit))


async def describe(tx: Transaction, variants: Sequence[Variant]) -> list[VariantBody]:
    """Variants with what their versions grant and include."""
    versions = [variant.version_id for variant in variants]
    grants = await store.read_grants(tx, [(tx.environment, version) for version in versions])
    included = await store.read_included(tx, versions)
    return [show_variant(variant, grants[variant.version_id], included[variant.version_id]) for variant in variants]


async def _describe_present(tx: Transaction, variant_id: UUID) -> VariantBody:
    return (await describe(tx, [await find_variant(tx, variant_id)]))[0]


async def find_variant_id(tx: Transaction, plan_key: str, key: str) -> UUID:
    """The id of a plan's variant. Raises ServiceError(NOT_FOUND)."""
    variant_id = await store.find_variant_id(tx, plan_key, key)
    if variant_id is None:
        raise await _no_variant(tx, plan_key, key)
    return variant_id


async def _no_variant(tx: Transaction, plan_key: str, key: str) -> ServiceError:
    await find_plan(tx, plan_key)
    return ServiceError(Code.NOT_FOUND, f"The plan {plan_key!r} has no variant with the key {key!r}.")


def _version_of(
    tx: Transaction, variant_id: UUID, number: int, terms: VersionTerms, now: datetime
) -> PlanVariantVersion:
    return PlanVariantVersion(
        environment_id=tx.environment,
        id=new_id(now),
        variant_id=variant_id,
        version=number,
        interval_unit=terms.interval.value,
        interval_count=terms.interval_count,
        overage_policy=terms.overage_policy.value,
        created_at=now,
        overage_limit_micro=optional_micro(terms.overage_limit),
        billing_mode=terms.billing_mode.value,
        trial_days=terms.trial_days,
        renewal_due_days=terms.renewal_due_days,
        grace_period_days=terms.grace_period_days,
        allow_usage_while_overdue=terms.allow_usage_while_overdue,
        usable_while_paused=terms.usable_while_paused,
    )


async def _insert_version(
    tx: Transaction, version: PlanVariantVersion, terms: VersionTerms, features: dict[str, Feature]
) -> None:
    """Add the version, which becomes the variant's present one, with its grants, features and prices."""
    now = version.created_at
    keyed = zip(keys_of(terms.grants), terms.grants, strict=True)
    grants = [_grant_of(version, key, grant) for key, grant in keyed]
    inclusions = [
        PlanFeature(
            environment_id=tx.environment,
            variant_version_id=version.id,
            feature_id=features[inclusion.feature_key].id,
            overage_policy=None if inclusion.overage_policy is None else inclusion.overage_policy.value,
            overage_limit_micro=optional_micro(inclusion.overage_limit),
            limit_units_micro=optional_micro(inclusion.limit),
            value=own_value(features[inclusion.feature_key], inclusion, f"features[{index}]"),
        )
        for index, inclusion in enumerate(terms.features)
    ]
    await store.insert_version(tx, version, grants, inclusions)
    for index, inclusion in enumerate(terms.features):
        target = PriceTarget(features[inclusion.feature_key].id, version.id)
        for number, price in enumerate(own_prices(inclusion, f"features[{index}]", now), FIRST_VERSION):
            await metering.add_price(tx, target, price, number, now)


def _grant_of(version: PlanVariantVersion, key: str, terms: GrantTerms) -> PlanGrant:
    cycle = cycle_of(terms)
    lifetime, rollover, cap = terms.expires_after, terms.rollover, terms.accumulation_cap
    return PlanGrant(
        environment_id=version.environment_id,
        id=new_id(version.created_at),
        variant_version_id=version.id,
        key=key,
        amount_micro=terms.amount.micro,
        interval_unit=None if cycle is None else cycle.unit.value,
        interval_count=None if cycle is None else cycle.count,
        priority=terms.priority,
        once=terms.once,
        expires_after_unit=None if lifetime is None else lifetime.interval.value,
        expires_after_count=None if lifetime is None else lifetime.interval_count,
        rollover_percent=None if rollover is None else rollover.percent,
        rollover_cap_micro=None if rollover is None or rollover.cap is None else rollover.cap.micro,
        accumulation_cap_micro=None if cap is None else cap.micro,
    )
