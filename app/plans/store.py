"""Rows of plans, variants and their versions."""
# Piccolo does not say what its foreign keys point at.
# pyright: reportUnknownMemberType=false

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from app.io.postgres import Transaction
from app.plans.tables import Plan, PlanFeature, PlanGrant, PlanVariant, PlanVariantVersion

Placed = Sequence[tuple[UUID, UUID]]
"""Variants or versions, each with its environment before it."""


class Variant(msgspec.Struct, frozen=True):
    """A variant at one of its versions."""

    id: UUID
    plan_id: UUID
    plan_key: str
    plan_kind: str
    key: str
    version_id: UUID
    version: int
    interval_unit: str
    interval_count: int
    overage_policy: str
    created_at: datetime
    published_at: datetime
    overage_limit_micro: int | None
    billing_mode: str
    trial_days: int
    renewal_due_days: int
    grace_period_days: int
    allow_usage_while_overdue: bool
    usable_while_paused: bool


class Grant(msgspec.Struct, frozen=True):
    """Credit that a version grants. Lifetime, rollover and caps are None where it has none of its own."""

    key: str
    amount_micro: int
    interval_unit: str | None
    interval_count: int | None
    """None where it is granted once."""
    priority: int
    once: bool
    expires_after_unit: str | None
    expires_after_count: int | None
    rollover_percent: int | None
    rollover_cap_micro: int | None
    accumulation_cap_micro: int | None


class OwnPrice(msgspec.Struct, frozen=True):
    """A price that a version sets itself; `price` and `match` as JSON."""

    price: str
    match: str
    effective_at: datetime
    created_at: datetime


class IncludedFeature(msgspec.Struct, frozen=True):
    """A feature of a version; without prices or a value (JSON) of its own it has the feature's defaults."""

    feature_key: str
    overage_policy: str | None
    overage_limit_micro: int | None
    limit_units_micro: int | None
    value: str | None
    prices: list[OwnPrice]


async def insert_plan(plan: Plan) -> bool:
    """Add the plan; False where there is one with this key."""
    unique = (Plan.environment_id, Plan.key)
    return bool(await Plan.insert(plan).on_conflict(target=unique, action="DO NOTHING").returning(Plan.id))


async def read_plan(tx: Transaction, key: str) -> Plan | None:
    """The plan with this key."""
    return await Plan.objects().where(Plan.environment_id == tx.environment, Plan.key == key).first()


async def lock_plan(tx: Transaction, key: str) -> Plan | None:
    """The same, kept as it is until the transaction ends."""
    query = Plan.objects().where(Plan.environment_id == tx.environment, Plan.key == key)
    return await query.lock_rows("UPDATE").first()


async def rename_plan(tx: Transaction, key: str, name: str) -> None:
    """Call the plan so from now on, where there is one with this key."""
    await Plan.update({Plan.name: name}).where(Plan.environment_id == tx.environment, Plan.key == key)


async def list_plans(tx: Transaction, after: str | None, limit: int) -> list[Plan]:
    """Plans by key, after the key `after`."""
    query = Plan.objects().where(Plan.environment_id == tx.environment)
    if after is not None:
        query = query.where(Plan.key > after)
    return await query.order_by(Plan.key).limit(limit)


async def insert_variant(variant: PlanVariant) -> bool:
    """Add the variant; False where the plan has one with this key."""
    unique = (PlanVariant.environment_id, PlanVariant.plan_id, PlanVariant.key)
    query = PlanVariant.insert(variant).on_conflict(target=unique, action="DO NOTHING")
    return bool(await query.returning(PlanVariant.id))


async def insert_version(
    tx: Transaction, version: PlanVariantVersion, grants: Sequence[PlanGrant], features: Sequence[PlanFeature]
) -> None:
    """Add a version with all that belongs to it, and make it the variant's present one."""
    await PlanVariantVersion.insert(version)
    if grants:
        await PlanGrant.insert(*grants)
    if features:
        await PlanFeature.insert(*features)
    await PlanVariant.update({PlanVariant.current_version_id: version.id}).where(
        PlanVariant.environment_id == tx.environment, PlanVariant.id == version.variant_id
    )


async def read_variant(tx: Transaction, environment_id: UUID, variant_id: UUID) -> Variant | None:
    """The variant with this id, at its present version."""
    row = await tx.connection.fetchrow(f"{_PRESENT} AND v.id = $2", environment_id, variant_id)
    return None if row is None else Variant(*row)


async def read_newest_versions(tx: Transaction, variants: Placed) -> list[tuple[UUID, UUID, UUID]]:
    """(environment, variant, its newest version) of variants that there are."""
    statement = """
        SELECT environment_id, id, current_version_id FROM plan_variants
        WHERE (environment_id, id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[])) AND current_version_id IS NOT NULL
    """
    return [tuple(row) for row in await tx.connection.fetch(statement, *_columns(variants))]


async def read_versions(tx: Transaction, versions: Placed) -> list[Variant]:
    """Variants at these versions, as far as there are such."""
    statement = f"""
        {_ALL_VERSIONS}
        JOIN unnest($1::uuid[], $2::uuid[]) AS asked (environment_id, id)
             ON n.environment_id = asked.environment_id AND n.id = asked.id
    """
    return [Variant(*row) for row in await tx.connection.fetch(statement, *_columns(versions))]


def _columns(placed: Placed) -> tuple[list[UUID], list[UUID]]:
    return [environment_id for environment_id, _ in placed], [each for _, each in placed]


async def hold_variant(tx: Transaction, variant_id: UUID) -> None:
    """Keep the variant at its present version until the transaction ends."""
    statement = "SELECT FROM plan_variants WHERE environment_id = $1 AND id = $2 FOR SHARE"
    await tx.connection.execute(statement, tx.environment, variant_id)


async def is_free_variant(tx: Transaction, variant_id: UUID) -> bool:
    """Whether the variant is the environment's free plan."""
    statement = "SELECT EXISTS (SELECT FROM environment_settings WHERE environment_id = $1 AND free_variant_id = $2)"
    return bool(await tx.connection.fetchval(statement, tx.environment, variant_id))


async def find_variant_id(tx: Transaction, plan_key: str, key: str) -> UUID | None:
    """The id of the plan's variant with this key."""
    return await tx.connection.fetchval(_VARIANT_ID, tx.environment, plan_key, key)


async def lock_variant_id(tx: Transaction, plan_key: str, key: str) -> UUID | None:
    """The same, so that versions of the variant are published one after the other."""
    return await tx.connection.fetchval(f"{_VARIANT_ID} FOR UPDATE OF v", tx.environment, plan_key, key)


_VARIANT_ID = """
    SELECT v.id FROM plan_variants v
    JOIN plans p ON p.environment_id = v.environment_id AND p.id = v.plan_id
    WHERE v.environment_id = $1 AND p.key = $2 AND v.key = $3
"""


async def list_variants(tx: Transaction, plan_id: UUID, after: str | None, limit: int) -> list[Variant]:
    """Variants of a plan by key, after the key `after`, at their present versions."""
    statement = f"{_PRESENT} AND v.plan_id = $2 AND ($3::text IS NULL OR v.key > $3) ORDER BY v.key LIMIT $4"
    return [Variant(*row) for row in await tx.connection.fetch(statement, tx.environment, plan_id, after, limit)]


async def list_versions(tx: Transaction, variant_id: UUID, before: int | None, limit: int) -> list[Variant]:
    """A variant at each of its versions, newest first, below the version `before`."""
    statement = f"""
        {_VERSIONS} AND v.id = $2 AND ($3::integer IS NULL OR n.version < $3) ORDER BY n.version DESC LIMIT $4
    """
    return [Variant(*row) for row in await tx.connection.fetch(statement, tx.environment, variant_id, before, limit)]


_ALL_VERSIONS = """
    SELECT v.id, p.id, p.key, p.kind, v.key, n.id, n.version, n.interval_unit, n.interval_count, n.overage_policy,
           v.created_at, n.created_at, n.overage_limit_micro, n.billing_mode, n.trial_days, n.renewal_due_days,
           n.grace_period_days, n.allow_usage_while_overdue, n.usable_while_paused
    FROM plan_variants v
    JOIN plans p ON p.environment_id = v.environment_id AND p.id = v.plan_id
    JOIN plan_variant_versions n ON n.environment_id = v.environment_id AND n.variant_id = v.id
"""
_VERSIONS = f"{_ALL_VERSIONS} WHERE v.environment_id = $1"
_PRESENT = f"{_VERSIONS} AND n.id = v.current_version_id"


async def read_grants(tx: Transaction, versions: Placed) -> dict[UUID, list[Grant]]:
    """What versions grant, by version, in the order in which it was said."""
    statement = """
        SELECT variant_version_id, key, amount_micro, interval_unit, interval_count, priority, once,
               expires_after_unit, expires_after_count, rollover_percent, rollover_cap_micro, accumulation_cap_micro
        FROM plan_grants
        WHERE (environment_id, variant_version_id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[])) ORDER BY id
    """
    grants: dict[UUID, list[Grant]] = {version_id: [] for _, version_id in versions}
    for version_id, *terms in await tx.connection.fetch(statement, *_columns(versions)):
        grants[version_id].append(Grant(*terms))
    return grants


async def read_included(tx: Transaction, version_ids: Sequence[UUID]) -> dict[UUID, list[IncludedFeature]]:
    """What versions include, by version, with the prices that they set themselves."""
    statement = """
        SELECT i.variant_version_id, f.key, i.overage_policy, i.overage_limit_micro, i.limit_units_micro, i.value,
               p.price, p.match, p.effective_at, p.created_at
        FROM plan_features i
        JOIN features f ON f.environment_id = i.environment_id AND f.id = i.feature_id
        LEFT JOIN prices p ON p.environment_id = i.environment_id AND p.feature_id = i.feature_id
             AND p.variant_version_id = i.variant_version_id
        WHERE i.environment_id = $1 AND i.variant_version_id = ANY($2::uuid[])
        ORDER BY i.variant_version_id, f.key, p.version
    """
    included: dict[UUID, list[IncludedFeature]] = {version_id: [] for version_id in version_ids}
    for row in await tx.connection.fetch(statement, tx.environment, version_ids):
        of_version = included[row["variant_version_id"]]
        limits = row["overage_limit_micro"], row["limit_units_micro"]
        if not of_version or of_version[-1].feature_key != row["key"]:
            of_version.append(IncludedFeature(row["key"], row["overage_policy"], *limits, row["value"], []))
        if row["price"] is not None:
            price = OwnPrice(row["price"], row["match"], row["effective_at"], row["created_at"])
            of_version[-1].prices.append(price)
    return included
