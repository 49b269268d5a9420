"""Bodies of the feature and price routes."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from app.errors import invalid_value
from app.metering.tables import Feature, PriceVersion
from app.rules.entitlement import FeatureKind
from app.rules.pricing import FlatPrice, PerUnitPrice, Price
from app.web.amounts import UnitPrice
from app.web.bodies import encode
from app.web.fields import Key, Name
from app.wire.ids import show

MAX_VALUE_BYTES = 4096
MAX_CAP = 10**9
Value = Any
"""Of a switch true or false, of a gauge its cap (null = unlimited), of a static feature any JSON."""


class FlatPriceBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="flat", tag_field="kind"):
    """`amount` credits for every event, whatever its units."""

    amount: UnitPrice


class PerUnitPriceBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="per_unit", tag_field="kind"):
    """`amount` credits per `per` units, in proportion."""

    amount: UnitPrice
    per: Annotated[int, Meta(ge=1, le=10**9)] = 1


PriceBody = FlatPriceBody | PerUnitPriceBody


class NewFeature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A feature to be made; with a default price or value it can be used without a plan.

    `price` is for a `metered` feature, `default_value` for the other kinds: of a `boolean` true or false, of a `gauge`
    its cap (null = unlimited), of a `static` feature any JSON.
    """

    key: Key
    name: Name
    kind: FeatureKind = FeatureKind.METERED
    price: PriceBody | None = None
    default_value: Value | msgspec.UnsetType = msgspec.UNSET


class FeatureChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Another name or default value. Prices have versions of their own; key and kind stay."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    default_value: Value | msgspec.UnsetType = msgspec.UNSET


class FeatureBody(msgspec.Struct, frozen=True):
    """A feature with its present default price; `default_value` is there where it has one."""

    feature_id: str
    key: str
    name: str
    kind: str
    price: PriceBody | None
    price_id: str | None
    created_at: datetime
    default_value: Value | msgspec.UnsetType = msgspec.UNSET


class PriceVersionBody(msgspec.Struct, frozen=True):
    """A version of a feature's default price."""

    price_id: str
    feature_key: str
    version: int
    price: PriceBody
    effective_at: datetime


def parse_price(body: PriceBody, field: str) -> Price:
    """The price as the rules know it. Raises ServiceError(INVALID_VALUE) for one below zero."""
    if body.amount.micro < 0:
        raise invalid_value(f"{field}.amount", "must not be below zero")
    if isinstance(body, FlatPriceBody):
        return FlatPrice(body.amount.micro)
    return PerUnitPrice(body.amount.micro, body.per)


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


def show_value(text: str | None) -> Value | msgspec.UnsetType:
    """The value behind its text, as it was sent; UNSET where there is none."""
    return msgspec.UNSET if text is None else msgspec.Raw(text.encode())


def show_price(price: Price) -> PriceBody:
    """The price as the API shows it."""
    if isinstance(price, FlatPrice):
        return FlatPriceBody(UnitPrice(price.amount_micro))
    return PerUnitPriceBody(UnitPrice(price.amount_micro), price.per)


def decode_price(row: PriceVersion) -> Price:
    """The price of a row."""
    return msgspec.json.decode(row.price, type=Price)


def show_feature(feature: Feature, price: PriceVersion | None) -> FeatureBody:
    """The feature as the API shows it."""
    return FeatureBody(
        show("feat", feature.id),
        feature.key,
        feature.name,
        feature.kind,
        None if price is None else show_price(decode_price(price)),
        None if price is None else show("price", price.id),
        feature.created_at,
        show_value(feature.default_value),
    )


def show_price_version(feature: Feature, row: PriceVersion) -> PriceVersionBody:
    """The version as the API shows it."""
    return PriceVersionBody(
        show("price", row.id), feature.key, row.version, show_price(decode_price(row)), row.effective_at
    )
