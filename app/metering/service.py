"""Making features and pricing them."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from app.errors import ServiceError, invalid_value
from app.io.ids import new_id
from app.io.postgres import Transaction
from app.metering import store
from app.metering.schemas import NewFeature, NewPrice, parse_price
from app.metering.tables import Feature, PriceVersion
from app.rules.moments import NEVER_AT, to_at
from app.trail import dirty
from app.wire.codes import Code
from app.wire.problem import FieldError

MAX_PRICES = 100
"""Default prices of a feature that a snapshot holds: one for each match, and those that are to come."""


class PriceTarget(msgspec.Struct, frozen=True):
    """What a price is for: a feature by default, or in one version of a plan variant."""

    feature_id: UUID
    variant_version_id: UUID | None = None


async def create_feature(tx: Transaction, new: NewFeature, now: datetime) -> tuple[Feature, PriceVersion | None]:
    """A new feature, with its default price if it has one. Raises ServiceError(CONFLICT, INVALID_VALUE)."""
    price = None if new.price is None else parse_price(new.price, "price")
    if price is not None:
        check_first_price(price, "price.")
    feature = Feature(
        environment_id=tx.environment, id=new_id(now), key=new.key, name=new.name, kind=new.kind, created_at=now
    )
    if not await store.insert_feature(feature):
        raise ServiceError(Code.CONFLICT, f"There is a feature with the key {new.key!r} already.")
    dirty.mark_environment(tx)
    if price is None:
        return feature, None
    return feature, await add_price(tx, PriceTarget(feature.id), price, 1, now)


async def add_default_price(tx: Transaction, key: str, new: NewPrice, now: datetime) -> tuple[Feature, PriceVersion]:
    """A new version of a feature's default price, for everybody or for some usage.

    Raises ServiceError(UNKNOWN_FEATURE, INVALID_VALUE).
    """
    check_beginning(new, "", now)
    feature = await store.lock_feature(tx, key)
    if feature is None:
        raise _unknown(key)
    standing = await store.read_default_standing(tx, feature.id, now)
    if not standing.last_version:
        check_first_price(new)
    if standing.live >= MAX_PRICES:
        message = f"of a feature may be {MAX_PRICES}, those to come included; wait until some of them have begun"
        raise invalid_value("prices", message)
    dirty.mark_environment(tx)
    return feature, await add_price(tx, PriceTarget(feature.id), new, standing.last_version + 1, now)


def check_first_price(new: NewPrice, prefix: str = "") -> None:
    """Where there is no price yet: with another one first, something would have none at times.

    Raises ServiceError(INVALID_VALUE).
    """
    if new.match:
        raise invalid_value(f"{prefix}match", "needs a price without match before it, for all other usage")
    if new.effective_at is not None:
        raise invalid_value(f"{prefix}effective_at", "must be left out: the first price holds at once")


def check_beginning(new: NewPrice, prefix: str, now: datetime) -> None:
    """A price cannot begin before it was set. Raises ServiceError(INVALID_VALUE)."""
    if new.effective_at is None:
        return
    if new.effective_at < now:
        raise invalid_value(f"{prefix}effective_at", "must not lie in the past; leave it out for now")
    if to_at(new.effective_at) >= NEVER_AT:
        raise invalid_value(f"{prefix}effective_at", "is too far away")


async def add_price(tx: Transaction, target: PriceTarget, new: NewPrice, version: int, now: datetime) -> PriceVersion:
    """Version `version` of the prices of `target`. It has been looked at."""
    row = PriceVersion(
        environment_id=tx.environment,
        id=new_id(now),
        feature_id=target.feature_id,
        variant_version_id=target.variant_version_id,
        version=version,
        match=msgspec.json.encode(new.match).decode(),
        price=msgspec.json.encode(new.price).decode(),
        effective_at=new.effective_at or now,
        created_at=now,
    )
    await store.insert_price(row)
    return row


async def find_feature(tx: Transaction, key: str, now: datetime) -> tuple[Feature, PriceVersion | None]:
    """The feature with this key, and its present default price. Raises ServiceError(UNKNOWN_FEATURE)."""
    feature = await store.read_feature(tx, key)
    if feature is None:
        raise _unknown(key)
    return feature, (await store.read_default_prices(tx, [feature.id], now)).get(feature.id)


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
