"""Rows of features and prices."""
# Piccolo does not say what its foreign keys point at.
# pyright: reportUnknownMemberType=false

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from app.io.postgres import Transaction
from app.metering.tables import Feature, PriceVersion


class Standing(msgspec.Struct, frozen=True):
    """What there is of a feature's default prices: the last version (0 = none yet), and how many snapshots hold."""

    last_version: int
    live: int
    """Rates, and versions that are to come."""


async def insert_feature(feature: Feature) -> bool:
    """Add the feature; False where there is one with this key."""
    unique = (Feature.environment_id, Feature.key)
    return bool(await Feature.insert(feature).on_conflict(target=unique, action="DO NOTHING").returning(Feature.id))


async def insert_price(price: PriceVersion) -> None:
    """Add a version of a price."""
    await PriceVersion.insert(price)


async def read_feature(tx: Transaction, key: str) -> Feature | None:
    """The feature with this key."""
    return await Feature.objects().where(Feature.environment_id == tx.environment, Feature.key == key).first()


async def lock_feature(tx: Transaction, key: str) -> Feature | None:
    """The feature with this key, so that its prices get their versions one after the other."""
    query = Feature.objects().where(Feature.environment_id == tx.environment, Feature.key == key)
    return await query.lock_rows("UPDATE").first()


async def read_features(tx: Transaction, keys: Sequence[str]) -> dict[str, Feature]:
    """The features with these keys, by key."""
    if not keys:
        return {}
    query = Feature.objects().where(Feature.environment_id == tx.environment, Feature.key.is_in(list(keys)))
    return {feature.key: feature for feature in await query}


async def update_feature(feature: Feature, event_type: str | None, units_from: str | None) -> None:
    """Keep the feature's name and limit as they are now, and what it reads."""
    await Feature.update(
        {
            Feature.name: feature.name,
            Feature.limit_units_micro: feature.limit_units_micro,
            Feature.event_type: event_type,
            Feature.units_from: units_from,
        }
    ).where(Feature.environment_id == feature.environment_id, Feature.id == feature.id)


async def count_readers(tx: Transaction, event_type: str) -> int:
    """How many features read CloudEvents of this type."""
    statement = "SELECT count(*) FROM features WHERE environment_id = $1 AND event_type = $2"
    return await tx.connection.fetchval(statement, tx.environment, event_type)


async def list_features(tx: Transaction, after: str | None, limit: int) -> list[Feature]:
    """Features by key, after the key `after`."""
    query = Feature.objects().where(Feature.environment_id == tx.environment)
    if after is not None:
        query = query.where(Feature.key > after)
    return await query.order_by(Feature.key).limit(limit)


async def read_default_prices(tx: Transaction, feature_ids: Sequence[UUID], now: datetime) -> dict[UUID, PriceVersion]:
    """The default price for everybody that is in force, of each feature that has one, by feature."""
    statement = """
        SELECT DISTINCT ON (feature_id) * FROM prices
        WHERE environment_id = $1 AND feature_id = ANY($2::uuid[]) AND variant_version_id IS NULL AND match = '{}'
              AND effective_at <= $3
        ORDER BY feature_id, effective_at DESC, version DESC
    """
    rows = await tx.connection.fetch(statement, tx.environment, feature_ids, now)
    return {row["feature_id"]: PriceVersion(**dict(row)) for row in rows}


async def read_default_standing(tx: Transaction, feature_id: UUID, now: datetime) -> Standing:
    """What a feature has of default prices."""
    statement = """
        SELECT coalesce(max(version), 0) AS last_version,
               count(DISTINCT match) + count(*) FILTER (WHERE effective_at > $3) AS live
        FROM prices WHERE environment_id = $1 AND feature_id = $2 AND variant_version_id IS NULL
    """
    row = await tx.connection.fetchrow(statement, tx.environment, feature_id, now)
    return Standing(0, 0) if row is None else Standing(row["last_version"], row["live"])


async def list_default_prices(tx: Transaction, feature_id: UUID, before: int | None, limit: int) -> list[PriceVersion]:
    """Default prices of a feature, newest first, below the version `before`."""
    query = PriceVersion.objects().where(
        PriceVersion.environment_id == tx.environment,
        PriceVersion.feature_id == feature_id,
        PriceVersion.variant_version_id.is_null(),
    )
    if before is not None:
        query = query.where(PriceVersion.version < before)
    return await query.order_by(PriceVersion.version, ascending=False).limit(limit)
