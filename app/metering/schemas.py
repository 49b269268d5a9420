"""Bodies of the feature and price routes."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from app.errors import invalid_value
from app.metering.tables import Feature, PriceVersion
from app.rules.pricing import FlatPrice, PerUnitPrice, Price
from app.web.amounts import UnitLimit, UnitPrice, limit_or_none
from app.web.fields import Key, Name
from app.wire.ids import show


class FlatPriceBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="flat", tag_field="kind"):
    """`amount` credits for every event, whatever its units."""

    amount: UnitPrice


class PerUnitPriceBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="per_unit", tag_field="kind"):
    """`amount` credits per `per` units, in proportion."""

    amount: UnitPrice
    per: Annotated[int, Meta(ge=1, le=10**9)] = 1


PriceBody = FlatPriceBody | PerUnitPriceBody


class NewFeature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A feature to be made; `price` is its default price, by which it can be used without a plan.

    `limit` is how many units may be used in a period where a plan sets no other.
    """

    key: Key
    name: Name
    kind: Literal["metered"] = "metered"
    price: PriceBody | None = None
    limit: UnitLimit | None = None


class FeatureBody(msgspec.Struct, frozen=True):
    """A feature with its present default price."""

    feature_id: str
    key: str
    name: str
    kind: str
    price: PriceBody | None
    price_id: str | None
    created_at: datetime
    limit: UnitLimit | None = None


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
        limit_or_none(feature.limit_units_micro),
    )


def show_price_version(feature: Feature, row: PriceVersion) -> PriceVersionBody:
    """The version as the API shows it."""
    return PriceVersionBody(
        show("price", row.id), feature.key, row.version, show_price(decode_price(row)), row.effective_at
    )
