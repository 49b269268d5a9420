"""Rows of features and prices."""
# Piccolo does not say what its foreign keys point at.
# pyright: reportUnknownMemberType=false

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from app.io.postgres import Transaction
from app.io.statements import statements
from app.metering.holds import HoldChange
from app.metering.tables import Feature, PriceVersion
from app.rules.moments import to_at, to_datetime
from app.wire.gauges import Hold

_SQL = statements("app.metering")


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
    """Keep the feature's name, default value and limit as they are now, and what it reads."""
    await Feature.update(
        {
            Feature.name: feature.name,
            Feature.default_value: feature.default_value,
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


async def write_holds(tx: Transaction, changes: Collection[HoldChange]) -> None:
    """What became of holders, each of them once."""
    if not changes:
        return
    await tx.connection.execute(
        _SQL["write_holds"],
        [change.environment_id for change in changes],
        [change.account_id for change in changes],
        [change.feature_key for change in changes],
        [change.holder for change in changes],
        [change.units for change in changes],
        [None if change.expires_at is None else to_datetime(change.expires_at) for change in changes],
        [to_datetime(change.changed_at) for change in changes],
    )


async def read_holds(tx: Transaction, account_id: UUID) -> list[Hold]:
    """What the holders of an account hold, as far as the ledger has read its stream. Time may have ended some since."""
    rows = await tx.connection.fetch(_SQL["read_holds"], tx.environment, account_id)
    return [
        Hold(
            row["feature_key"],
            row["holder"],
            row["units"],
            0 if row["expires_at"] is None else to_at(row["expires_at"]),
        )
        for row in rows
    ]


async def delete_holds(tx: Transaction, *, ended_before: datetime, limit: int) -> int:
    """Forget some of the holders that ended before that and changed no more; how many."""
    status = await tx.connection.execute(_SQL["delete_holds"], ended_before, limit)
    return int(status.rpartition(" ")[2])
