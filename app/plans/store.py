"""Rows of plans, variants and their versions."""
# Piccolo does not say what its foreign keys point at.
# pyright: reportUnknownMemberType=false

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from app.io.postgres import Transaction
from app.plans.tables import Plan, PlanFeature, PlanGrant, PlanVariant, PlanVariantVersion


class Variant(msgspec.Struct, frozen=True):
    """A variant with its present version."""

    id: UUID
    plan_key: str
    key: str
    version_id: UUID
    version: int
    interval_unit: str
    interval_count: int
    overage_policy: str
    created_at: datetime
    overage_limit_micro: int | None


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


async def read_variant(tx: Transaction, variant_id: UUID) -> Variant | None:
    """The variant with this id."""
    row = await tx.connection.fetchrow(f"{_VARIANTS} AND v.id = $2", tx.environment, variant_id)
    return None if row is None else Variant(*row)


async def list_variants(tx: Transaction, plan_id: UUID, after: str | None, limit: int) -> list[Variant]:
    """Variants of a plan by key, after the key `after`."""
    statement = f"{_VARIANTS} AND v.plan_id = $2 AND ($3::text IS NULL OR v.key > $3) ORDER BY v.key LIMIT $4"
    return [Variant(*row) for row in await tx.connection.fetch(statement, tx.environment, plan_id, after, limit)]


_VARIANTS = """
    SELECT v.id, p.key, v.key, c.id, c.version, c.interval_unit, c.interval_count, c.overage_policy, v.created_at,
           c.overage_limit_micro
    FROM plan_variants v
    JOIN plans p ON p.environment_id = v.environment_id AND p.id = v.plan_id
    JOIN plan_variant_versions c ON c.environment_id = v.environment_id AND c.id = v.current_version_id
    WHERE v.environment_id = $1
"""


async def read_grants(tx: Transaction, version_ids: Sequence[UUID]) -> dict[UUID, list[PlanGrant]]:
    """What versions grant, by version."""
    grants: dict[UUID, list[PlanGrant]] = {version_id: [] for version_id in version_ids}
    if not grants:
        return grants
    query = PlanGrant.objects().where(
        PlanGrant.environment_id == tx.environment, PlanGrant.variant_version_id.is_in(list(version_ids))
    )
    for grant in await query.order_by(PlanGrant.id):
        grants[grant.variant_version_id].append(grant)
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
