"""Bodies of the top-up routes."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from app.topups.store import TopupRow
from app.topups.tables import TopupPackage
from app.web.amounts import Credits, CreditsAboveZero
from app.web.fields import Currency, EndUserId, Key, Name, PricePaid, Priority, Reference
from app.wire.ids import show

DEFAULT_PRIORITY = 100
MAX_DAYS = 36_500
"""That credit may live: what expires then still fits the range of moments."""


class NewPackage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A package to be sold: `credits` for `price_paid`. Its terms cannot be changed; take it off sale, make another."""

    key: Key
    name: Name
    credits: CreditsAboveZero
    price_paid: PricePaid
    currency: Currency
    priority: Priority = DEFAULT_PRIORITY
    expires_after_days: Annotated[int, Meta(ge=1, le=MAX_DAYS)] | None = None
    """Of 24 hours, from the top-up on. Left out: never."""
    active: bool = True


class PackageChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the package is on sale."""

    active: bool


class PackageBody(msgspec.Struct, frozen=True):
    """A package."""

    package_id: str
    key: str
    name: str
    credits: Credits
    price_paid: int
    currency: str
    priority: int
    expires_after_days: int | None
    active: bool
    created_at: datetime


class NewTopup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A payment that your provider has confirmed. It grants once, for ever, whatever is retried.

    Either `package_key`, whose price is taken where none is sent, or `credits` with `price_paid` and `currency`.
    """

    end_user_id: EndUserId
    payment_reference: Reference
    package_key: Key | None = None
    credits: CreditsAboveZero | None = None
    price_paid: PricePaid | None = None
    currency: Currency | None = None


class TopupBody(msgspec.Struct, frozen=True):
    """A top-up, and the credit block that it made. It says the same whenever it is asked for."""

    topup_id: str
    end_user_id: str
    package_key: str | None
    credits: Credits
    price_paid: int
    currency: str
    payment_reference: str
    credit_block_id: str
    priority: int
    expires_at: datetime | None
    created_at: datetime


def show_package(package: TopupPackage) -> PackageBody:
    """The package as the API shows it."""
    return PackageBody(
        package_id=show("pkg", package.id),
        key=package.key,
        name=package.name,
        credits=Credits(package.amount_micro),
        price_paid=package.price_paid,
        currency=package.currency,
        priority=package.priority,
        expires_after_days=package.expires_after_days,
        active=package.active,
        created_at=package.created_at,
    )


def show_topup(row: TopupRow) -> TopupBody:
    """The top-up as the API shows it."""
    return TopupBody(
        topup_id=show("top", row.id),
        end_user_id=row.end_user_id,
        package_key=row.package_key,
        credits=Credits(row.amount_micro),
        price_paid=row.price_paid,
        currency=row.currency,
        payment_reference=row.payment_reference,
        credit_block_id=show("blk", row.block_id),
        priority=row.priority,
        expires_at=row.expires_at,
        created_at=row.created_at,
    )
