"""Making features and pricing them."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import UNSET

from app.errors import ServiceError, invalid_value
from app.io.ids import new_id
from app.io.postgres import Transaction
from app.metering import store
from app.metering.schemas import FeatureChange, NewFeature, NewPrice, parse_price, parse_value, show_feature
from app.metering.tables import Feature, PriceVersion
from app.rules.entitlement import FeatureKind
from app.rules.moments import NEVER_AT, to_at
from app.trail import audit, dirty
from app.web.amounts import optional_micro
from app.web.fields import LAST
from app.wire.codes import Code
from app.wire.complaints import now_in_words
from app.wire.problem import FieldError

MAX_PRICES = 100
"""Default prices of a feature that a snapshot holds: one for each match, and those that are to come."""
MAX_READERS = 20
"""Features that read one type of CloudEvents: each event of it becomes as many usage events."""


class Reading(msgspec.Struct, frozen=True):
    """Which CloudEvents a feature reads, and where in them the units are; None: none, and the usual place."""

    event_type: str | None
    units_from: str | None

    def changed(self, change: FeatureChange) -> "Reading":
        """After a change. What the feature does not read any more has no units."""
        event_type = self.event_type if change.event_type is UNSET else change.event_type
        units_from = self.units_from if event_type is not None else None
        return Reading(event_type, units_from if change.units_from is UNSET else change.units_from)

    def check(self) -> None:
        """Raises ServiceError(INVALID_VALUE)."""
        if self.units_from is not None and self.event_type is None:
            raise invalid_value("units_from", "is of use with an event_type only")


class PriceTarget(msgspec.Struct, frozen=True):
    """What a price is for: a feature by default, or in one version of a plan variant."""

    feature_id: UUID
    variant_version_id: UUID | None = None


async def create_feature(tx: Transaction, new: NewFeature, now: datetime) -> tuple[Feature, PriceVersion | None]:
    """A new feature, with its default price or value if it has one.

    Raises ServiceError: CONFLICT for the key, INVALID_VALUE, FEATURE_NOT_METERED for a price or limit.
    """
    price, default_value = None, None
    if new.price is not None:
        require_metered(new.kind, new.key, "price")
        price = parse_price(new.price, "price")
        check_first_price(price, "price.")
    if new.limit is not None:
        require_metered(new.kind, new.key, "limit")
    if new.default_value is not UNSET:
        default_value = parse_value(new.kind, new.default_value, "default_value")
    Reading(new.event_type, new.units_from).check()
    feature = Feature(
        environment_id=tx.environment,
        id=new_id(now),
        key=new.key,
        name=new.name,
        kind=new.kind.value,
        default_value=default_value,
        event_type=new.event_type,
        units_from=new.units_from,
        created_at=now,
        limit_units_micro=optional_micro(new.limit),
    )
    if not await store.insert_feature(feature):
        raise ServiceError(Code.CONFLICT, f"There is a feature with the key {new.key!r} already.")
    await _check_readers(tx, new.event_type)
    dirty.mark_environment(tx)
    audit.changed(tx, "feature", new.key)
    if price is None:
        return feature, None
    return feature, await add_price(tx, PriceTarget(feature.id), price, 1, now)


async def change_feature(
    tx: Transaction, key: str, change: FeatureChange, now: datetime
) -> tuple[Feature, PriceVersion | None]:
    """The feature with another name, default value, limit or other CloudEvents, known to every edge at once.

    Raises ServiceError(UNKNOWN_FEATURE, INVALID_VALUE, FEATURE_NOT_METERED for a limit).
    """
    feature = await store.lock_feature(tx, key)
    if feature is None:
        raise _unknown(key)
    audit.changed(tx, "feature", key, before=show_feature(*await find_feature(tx, key, now)))
    before = Reading(feature.event_type, feature.units_from)
    reading = before.changed(change)
    reading.check()
    if change.name is not UNSET:
        feature.name = change.name
    if change.default_value is not UNSET:
        feature.default_value = parse_value(FeatureKind(feature.kind), change.default_value, "default_value")
        dirty.mark_environment(tx)
    if change.limit is not UNSET:
        require_metered(FeatureKind(feature.kind), key, "limit")
        feature.limit_units_micro = optional_micro(change.limit)
        dirty.mark_environment(tx)
    await store.update_feature(feature, reading.event_type, reading.units_from)
    if reading != before:
        dirty.mark_environment(tx)
        await _check_readers(tx, reading.event_type)
    return await find_feature(tx, key, now)


def require_metered(kind: FeatureKind, key: str, field: str) -> None:
    """Raises ServiceError(FEATURE_NOT_METERED), naming the field, where the feature has neither price nor limit."""
    if kind is not FeatureKind.METERED:
        message = f"is for metered features, and {key!r} is {kind.value}"
        raise ServiceError(Code.FEATURE_NOT_METERED, f"{field} {message}", errors=[FieldError(field, message)])


async def add_default_price(tx: Transaction, key: str, new: NewPrice, now: datetime) -> tuple[Feature, PriceVersion]:
    """A new version of a feature's default price, for everybody or for some usage.

    Raises ServiceError(UNKNOWN_FEATURE, FEATURE_NOT_METERED, INVALID_VALUE).
    """
    check_beginning(new, "", now)
    feature = await store.lock_feature(tx, key)
    if feature is None:
        raise _unknown(key)
    require_metered(FeatureKind(feature.kind), key, "price")
    standing = await store.read_default_standing(tx, feature.id, now)
    if not standing.last_version:
        check_first_price(new)
    if standing.live >= MAX_PRICES:
        message = f"of a feature may be {MAX_PRICES}, those to come included; wait until some of them have begun"
        raise invalid_value("prices", message)
    dirty.mark_environment(tx)
    audit.changed(tx, "feature", key)
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
    if not to_at(now) <= to_at(new.effective_at) < NEVER_AT:
        ahead = f"must not lie before {now_in_words(to_at(now))}, and has to lie before {LAST}"
        raise invalid_value(f"{prefix}effective_at", f"{ahead}; leave it out for now")


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


async def _check_readers(tx: Transaction, event_type: str | None) -> None:
    """That no more features read the type than may. Raises ServiceError(INVALID_VALUE)."""
    if event_type is None:
        return
    await dirty.change_catalogue(tx)  # two who count at once would not see each other's feature
    if await store.count_readers(tx, event_type) > MAX_READERS:
        raise invalid_value("event_type", f"is read by {MAX_READERS} features already, and no more may read it")


def _unknown(key: str) -> ServiceError:
    return ServiceError(Code.UNKNOWN_FEATURE, f"No feature has the key {key!r}.")
