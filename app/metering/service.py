"""Making features and pricing them."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from app.errors import ServiceError
from app.io.ids import new_id
from app.io.postgres import Transaction
from app.metering import store
from app.metering.schemas import NewFeature, parse_price
from app.metering.tables import Feature, PriceVersion
from app.rules.pricing import Price
from app.trail import dirty
from app.web.amounts import optional_micro
from app.wire.codes import Code
from app.wire.problem import FieldError


class PriceTarget(msgspec.Struct, frozen=True):
    """What a price is for: a feature by default, or in one version of a plan variant."""

    feature_id: UUID
    variant_version_id: UUID | None = None


async def create_feature(tx: Transaction, new: NewFeature, now: datetime) -> tuple[Feature, PriceVersion | None]:
    """A new feature, with its default price if it has one. Raises ServiceError(CONFLICT, INVALID_VALUE)."""
    price = None if new.price is None else parse_price(new.price, "price")
    feature = Feature(
        environment_id=tx.environment,
        id=new_id(now),
        key=new.key,
        name=new.name,
        kind=new.kind,
        created_at=now,
        limit_units_micro=optional_micro("limit", new.limit),
    )
    if not await store.insert_feature(feature):
        raise ServiceError(Code.CONFLICT, f"There is a feature with the key {new.key!r} already.")
    dirty.mark_environment(tx)
    if price is None:
        return feature, None
    return feature, await add_price(tx, PriceTarget(feature.id), price, 1, now)


async def change_default_price(tx: Transaction, key: str, price: Price, now: datetime) -> tuple[Feature, PriceVersion]:
    """A new version of a feature's default price, in force from now on. Raises ServiceError(UNKNOWN_FEATURE)."""
    feature = await store.lock_feature(tx, key)
    if feature is None:
        raise _unknown(key)
    present = (await store.read_default_prices(tx, [feature.id])).get(feature.id)
    dirty.mark_environment(tx)
    version = 1 if present is None else present.version + 1
    return feature, await add_price(tx, PriceTarget(feature.id), price, version, now)


async def add_price(tx: Transaction, target: PriceTarget, price: Price, version: int, now: datetime) -> PriceVersion:
    """Version `version` of the price of `target`, in force from now on."""
    row = PriceVersion(
        environment_id=tx.environment,
        id=new_id(now),
        feature_id=target.feature_id,
        variant_version_id=target.variant_version_id,
        version=version,
        price=msgspec.json.encode(price).decode(),
        effective_at=now,
        created_at=now,
    )
    await store.insert_price(row)
    return row


async def find_feature(tx: Transaction, key: str) -> tuple[Feature, PriceVersion | None]:
    """The feature with this key, and its present default price. Raises ServiceError(UNKNOWN_FEATURE)."""
    feature = await store.read_feature(tx, key)
    if feature is None:
        raise _unknown(key)
    return feature, (await store.read_default_prices(tx, [feature.id])).get(feature.id)


async def find_features(tx: Transaction, keys: Sequence[str]) -> dict[str, Feature]:
    """The features with these keys. Raises ServiceError(UNKNOWN_FEATURE) naming those that there are not."""
    found = await store.read_features(tx, keys)
    missing = [
        FieldError(f"features[{index}].feature_key", f"no feature has the key {key!r}")
        for index, key in enumerate(keys)
        if key not in found
    ]
    if missing:
        raise ServiceError(Code.UNKNOWN_FEATURE, "; ".join(error.message for error in missing), errors=missing)
    return found


def _unknown(key: str) -> ServiceError:
    return ServiceError(Code.UNKNOWN_FEATURE, f"No feature has the key {key!r}.")
