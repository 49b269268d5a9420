"""Bodies of the feature and price routes."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, TypedDict, Unpack, assert_never

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.errors import ServiceError, invalid_value
from app.metering.tables import Feature, PriceVersion
from app.rules.entitlement import FeatureKind
from app.rules.pricing import (
    MAX_BOUND,
    MAX_MATCHED,
    MAX_PER,
    MAX_TIERS,
    FlatPrice,
    GraduatedPrice,
    PackagePrice,
    PerUnitPrice,
    Price,
    Tier,
    VolumePrice,
    faults,
    faults_of_match,
)
from app.web.amounts import UnitLimit, UnitPrice, amount_or_none
from app.web.bodies import encode
from app.web.fields import EventType, Key, Moment, Name, UnitsFrom
from app.wire.codes import Code
from app.wire.ids import show
from app.wire.problem import FieldError

Per = Annotated[int, Meta(ge=1, le=MAX_PER, description="So many whole units.", examples=[1000])]
Match = Annotated[
    dict[str, str],
    Meta(
        max_length=MAX_MATCHED,
        description="The price is for usage whose `properties` have all of these.",
        examples=[{"model": "large"}],
    ),
]

MAX_VALUE_BYTES = 4096
MAX_CAP = 10**9
Value = Any
"""Of a switch true or false, of a gauge its cap (null = unlimited), of a static feature any JSON."""


class PriceTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every price may say: for which usage it is, and from when on."""

    match: Match | UnsetType = UNSET
    effective_at: Moment | UnsetType = UNSET


class FlatPriceBody(PriceTerms, frozen=True, tag="flat", tag_field="kind"):
    """`amount` credits for every event, whatever its units."""

    amount: UnitPrice


class PerUnitPriceBody(PriceTerms, frozen=True, tag="per_unit", tag_field="kind"):
    """`amount` credits per `per` units, in proportion."""

    amount: UnitPrice
    per: Per = 1


class PackagePriceBody(PriceTerms, frozen=True, tag="package", tag_field="kind"):
    """`amount` credits for every started package of `per` units."""

    amount: UnitPrice
    per: Per


class TierBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What units cost up to and with the unit `up_to`; the last tier has no `up_to` and is for all that follow."""

    amount: UnitPrice
    up_to: Annotated[int, Meta(ge=1, le=MAX_BOUND)] | None = None


Tiers = Annotated[
    list[TierBody],
    Meta(
        min_length=1,
        max_length=MAX_TIERS,
        description="With ascending `up_to`; the last one has none.",
        examples=[[{"amount": 0.05, "up_to": 1000}, {"amount": 0.02}]],
    ),
]


class GraduatedPriceBody(PriceTerms, frozen=True, tag="graduated", tag_field="kind"):
    """Each unit costs what its tier says, per `per` units, by how many were used before it in the period."""

    tiers: Tiers
    per: Per = 1


class VolumePriceBody(PriceTerms, frozen=True, tag="volume", tag_field="kind"):
    """All units of an event cost what the tier says, per `per` units, that the event's own quantity falls into."""

    tiers: Tiers
    per: Per = 1


PriceBody = FlatPriceBody | PerUnitPriceBody | PackagePriceBody | GraduatedPriceBody | VolumePriceBody


class ShownTerms(TypedDict, total=False):
    """What is shown of a price besides the price."""

    match: dict[str, str]
    effective_at: datetime


class NewPrice(msgspec.Struct, frozen=True):
    """A price that was looked at: for usage that has the properties of `match`, from a moment on; None = now."""

    price: Price
    match: dict[str, str]
    effective_at: datetime | None


class NewFeature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A feature to be made; with a default price or value it can be used without a plan.

    `price` is for a `metered` feature, `default_value` for the other kinds: of a `boolean` true or false, of a `gauge`
    its cap (null = unlimited), of a `static` feature any JSON.
    `limit` is how many units of a metered feature may be used in a period where a plan sets no other.
    """

    key: Key
    name: Name
    kind: FeatureKind = FeatureKind.METERED
    price: PriceBody | None = None
    default_value: Value | UnsetType = UNSET
    event_type: EventType | None = None
    units_from: UnitsFrom | None = None
    limit: UnitLimit | None = None


class FeatureChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to change of a feature; what is left out stays. Without an `event_type` there is no `units_from`."""

    name: Name | UnsetType = UNSET
    default_value: Value | UnsetType = UNSET
    event_type: EventType | UnsetType | None = UNSET
    units_from: UnitsFrom | UnsetType | None = UNSET
    limit: UnitLimit | UnsetType | None = UNSET


class FeatureBody(msgspec.Struct, frozen=True):
    """A feature with its present default price; `default_value` is there where it has one."""

    feature_id: str
    key: str
    name: str
    kind: str
    price: PriceBody | None
    price_id: str | None
    event_type: str | None
    units_from: str | None
    created_at: datetime
    limit: UnitLimit | None = None
    default_value: Value | UnsetType = UNSET


class PriceVersionBody(msgspec.Struct, frozen=True):
    """A version of a feature's default prices: for usage that has the properties of `match`, from a moment on."""

    price_id: str
    feature_key: str
    version: int
    price: PriceBody
    match: dict[str, str]
    effective_at: datetime


def parse_price(body: PriceBody, field: str = "") -> NewPrice:
    """The price as the rules know it. Raises ServiceError(INVALID_VALUE) that names all that is wrong."""
    match = {} if body.match is UNSET else body.match
    effective_at = None if body.effective_at is UNSET else body.effective_at
    new = NewPrice(_price_of(body), match, effective_at)
    errors = [
        FieldError(f"{field}.{fault.field}" if field else fault.field, fault.message)
        for fault in (*faults(new.price), *faults_of_match(match))
    ]
    if errors:
        detail = "; ".join(f"{error.field} {error.message}" for error in errors)
        raise ServiceError(Code.INVALID_VALUE, detail, errors=errors)
    return new


def parse_value(kind: FeatureKind, value: Value, field: str) -> str:
    """The value as JSON text. Raises ServiceError(INVALID_VALUE) for one that a feature of this kind cannot have."""
    if kind is FeatureKind.METERED:
        raise invalid_value(field, "is for features that are not metered; a metered one has a price")
    if kind is FeatureKind.BOOLEAN and not isinstance(value, bool):
        raise invalid_value(field, "must be true or false, since the feature is boolean")
    if kind is FeatureKind.GAUGE and value is not None and not _is_cap(value):
        raise invalid_value(field, f"must be a cap from 0 to {MAX_CAP}, or null for none, since the feature is a gauge")
    text = encode(value)
    if len(text) > MAX_VALUE_BYTES:
        raise invalid_value(field, f"may have {MAX_VALUE_BYTES} bytes; it has {len(text)}")
    return text.decode()


def _is_cap(value: Value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_CAP


def show_value(text: str | None) -> Value | UnsetType:
    """The value behind its text, as it was sent; UNSET where there is none."""
    return UNSET if text is None else msgspec.Raw(text.encode())


def _price_of(body: PriceBody) -> Price:
    match body:
        case FlatPriceBody():
            return FlatPrice(body.amount.micro)
        case PerUnitPriceBody():
            return PerUnitPrice(body.amount.micro, body.per)
        case PackagePriceBody():
            return PackagePrice(body.amount.micro, body.per)
        case GraduatedPriceBody():
            return GraduatedPrice(_tiers_of(body.tiers), body.per)
        case VolumePriceBody():
            return VolumePrice(_tiers_of(body.tiers), body.per)
        case _:
            assert_never(body)


def _tiers_of(bodies: Sequence[TierBody]) -> tuple[Tier, ...]:
    return tuple(Tier(body.up_to, body.amount.micro) for body in bodies)


def show_price(price: Price, **terms: Unpack[ShownTerms]) -> PriceBody:
    """The price as the API shows it, with its match and its beginning where they are given."""
    match price:
        case FlatPrice():
            return FlatPriceBody(UnitPrice(price.amount_micro), **terms)
        case PerUnitPrice():
            return PerUnitPriceBody(UnitPrice(price.amount_micro), price.per, **terms)
        case PackagePrice():
            return PackagePriceBody(UnitPrice(price.amount_micro), price.per, **terms)
        case GraduatedPrice():
            return GraduatedPriceBody(_show_tiers(price.tiers), price.per, **terms)
        case VolumePrice():
            return VolumePriceBody(_show_tiers(price.tiers), price.per, **terms)
        case _:
            assert_never(price)


def _show_tiers(tiers: Sequence[Tier]) -> list[TierBody]:
    return [TierBody(UnitPrice(tier.amount_micro), tier.up_to) for tier in tiers]


def decode_price(row: PriceVersion) -> Price:
    """The price of a row."""
    return msgspec.json.decode(row.price, type=Price)


def decode_match(row: PriceVersion) -> dict[str, str]:
    """The properties that usage has to have for the price of a row."""
    return msgspec.json.decode(row.match, type=dict[str, str])


def show_feature(feature: Feature, price: PriceVersion | None) -> FeatureBody:
    """The feature as the API shows it."""
    return FeatureBody(
        show("feat", feature.id),
        feature.key,
        feature.name,
        feature.kind,
        None if price is None else show_price(decode_price(price)),
        None if price is None else show("price", price.id),
        feature.event_type,
        feature.units_from,
        feature.created_at,
        amount_or_none(UnitLimit, feature.limit_units_micro),
        show_value(feature.default_value),
    )


def show_price_version(feature: Feature, row: PriceVersion) -> PriceVersionBody:
    """The version as the API shows it."""
    return PriceVersionBody(
        show("price", row.id),
        feature.key,
        row.version,
        show_price(decode_price(row)),
        decode_match(row),
        row.effective_at,
    )
