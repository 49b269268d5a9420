"""Making features and pricing them."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from app.errors import ServiceError
from app.io.ids import new_id
from app.io.postgres import Transaction
from app.metering import store
from app.metering.schemas import FeatureChange, NewFeature, parse_price, parse_value
from app.metering.tables import Feature, PriceVersion
from app.rules.entitlement import FeatureKind
from app.rules.pricing import Price
from app.trail import dirty
from app.wire.codes import Code
from app.wire.problem import FieldError


class PriceTarget(msgspec.Struct, frozen=True):
    """What a price is for: a feature by default, or in one version of a plan variant."""

    feature_id: UUID
    variant_version_id: UUID | None = None


async def create_feature(tx: Transaction, new: NewFeature, now: datetime) -> tuple[Feature, PriceVersion | None]:
    """A new feature, with its default price or value if it has one.

    Raises ServiceError: CONFLICT for the key, INVALID_VALUE, FEATURE_NOT_METERED for a price.
    """
    price, default_value = None, None
    if new.price is not None:
        require_metered(new.kind, new.key, "price")
        price = parse_price(new.price, "price")
    if new.default_value is not msgspec.UNSET:
        default_value = parse_value(new.kind, new.default_value, "default_value")
    feature = Feature(
        environment_id=tx.environment,
        id=new_id(now),
        key=new.key,
        name=new.name,
        kind=new.kind.value,
        default_value=default_value,
        created_at=now,
    )
    if not await store.insert_feature(feature):
        raise ServiceError(Code.CONFLICT, f"There is a feature with the key {new.key!r} already.")
    dirty.mark_environment(tx)
    if price is None:
        return feature, None
    return feature, await add_price(tx, PriceTarget(feature.id), price, 1, now)


async def change_feature(tx: Transaction, key: str, change: FeatureChange) -> tuple[Feature, PriceVersion | None]:
    """Another name or default value, known to every edge at once.

    Raises ServiceError(UNKNOWN_FEATURE, INVALID_VALUE).
    """
    feature = await store.lock_feature(tx, key)
    if feature is None:
        raise _unknown(key)
    if change.name is not msgspec.UNSET:
        feature.name = change.name
    if change.default_value is not msgspec.UNSET:
        feature.default_value = parse_value(FeatureKind(feature.kind), change.default_value, "default_value")
        dirty.mark_environment(tx)
    await store.update_feature(tx, feature)
    return await find_feature(tx, key)


def require_metered(kind: FeatureKind, key: str, field: str) -> None:
    """Raises ServiceError(FEATURE_NOT_METERED), naming the field, where the feature has no price."""
    if kind is not FeatureKind.METERED:
        message = f"is for metered features, and {key!r} is {kind.value}"
        raise ServiceError(Code.FEATURE_NOT_METERED, f"{field} {message}", errors=[FieldError(field, message)])


async def change_default_price(tx: Transaction, key: str, price: Price, now: datetime) -> tuple[Feature, PriceVersion]:
    """A new version of a feature's default price, in force from now on.

    Raises ServiceError(UNKNOWN_FEATURE, FEATURE_NOT_METERED).
    """
    feature = await store.lock_feature(tx, key)
    if feature is None:
        raise _unknown(key)
    require_metered(FeatureKind(feature.kind), key, "price")
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
