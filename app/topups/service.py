"""Selling packages, and making credit of payments, each of them once."""

from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from app.errors import ServiceError, invalid_value
from app.io.ids import new_id
from app.io.postgres import Transaction
from app.ledger import granting, reading
from app.ledger.book import BlockNotes
from app.ledger.schemas import check_price
from app.ledger.service import GrantRequest
from app.topups import store
from app.topups.schemas import DEFAULT_PRIORITY, NewPackage, NewTopup, TopupBody, show_package, show_topup
from app.topups.store import NewTopupRow, TopupRow
from app.topups.tables import TopupPackage
from app.trail import audit, outbox
from app.trail.idempotency import Repeated
from app.trail.outbox import EventType
from app.wire.codes import Code
from app.wire.ids import show


class Occasion(msgspec.Struct, frozen=True):
    """When and by whom something is done."""

    now: datetime
    actor: str
    idempotency_key: str | None


class Terms(msgspec.Struct, frozen=True):
    """What a payment buys."""

    package_id: UUID | None
    amount_micro: int
    price_paid: int
    currency: str
    priority: int
    expires_at: datetime | None


async def create_package(tx: Transaction, new: NewPackage, now: datetime) -> TopupPackage:
    """A new package. Raises ServiceError: INVALID_VALUE, CONFLICT for the key."""
    package = TopupPackage(
        environment_id=tx.environment,
        id=new_id(now),
        key=new.key,
        name=new.name,
        amount_micro=new.credits.micro,
        price_paid=new.price_paid,
        currency=new.currency,
        priority=new.priority,
        expires_after_days=new.expires_after_days,
        active=new.active,
        created_at=now,
    )
    if not await store.insert_package(package):
        raise ServiceError(Code.CONFLICT, f"There is a top-up package with the key {new.key!r} already.")
    audit.changed(tx, "topup_package", new.key)
    return package


async def find_package(tx: Transaction, key: str) -> TopupPackage:
    """The package with this key. Raises ServiceError(UNKNOWN_PACKAGE)."""
    package = await store.read_package(tx, key)
    if package is None:
        raise ServiceError(Code.UNKNOWN_PACKAGE, f"No top-up package has the key {key!r}.")
    return package


async def change_package(tx: Transaction, key: str, *, active: bool) -> TopupPackage:
    """Put a package on sale, or take it off. Raises ServiceError(UNKNOWN_PACKAGE)."""
    before = await store.lock_package(tx, key)
    if before is not None:
        audit.changed(tx, "topup_package", key, before=show_package(before))
    await store.set_active(tx, key, active=active)
    return await find_package(tx, key)


def check_topup(new: NewTopup) -> None:
    """What can be seen of a top-up by itself. Raises ServiceError(INVALID_VALUE)."""
    if (new.package_key is None) == (new.credits is None):
        raise invalid_value("package_key", "or credits: exactly one of the two says what was bought")
    check_price(new.price_paid, new.currency)
    if new.credits is not None and new.price_paid is None:
        raise invalid_value("price_paid", "is required where no package says it")


async def top_up(tx: Transaction, new: NewTopup, occasion: Occasion) -> TopupBody | Repeated:
    """The credit that a payment buys, or what the same payment bought before. `new` has passed `check_topup`.

    Raises ServiceError: PAYMENT_REFERENCE_USED with the top-up that it was used for, UNKNOWN_CUSTOMER, UNKNOWN_PACKAGE,
    PACKAGE_INACTIVE, and what a grant raises. After any of them the reference is as good as new.
    """
    await store.lock_payment_reference(tx, new.payment_reference)
    earlier = await store.read_topup(tx, new.payment_reference)
    if earlier is not None:
        return await _repeat(tx, new, earlier)
    figures = await reading.read_figures(tx, new.end_user_id)
    terms = await _terms(tx, new, occasion.now)
    topup_id = new_id(occasion.now)
    request = GrantRequest(
        amount_micro=terms.amount_micro,
        source="topup",
        priority=terms.priority,
        effective_at=occasion.now,
        expires_at=terms.expires_at,
        paid=True,
        actor=occasion.actor,
        reason=show("top", topup_id),
        idempotency_key=occasion.idempotency_key,
        notes=BlockNotes(
            price_paid=terms.price_paid, currency=terms.currency, external_reference=new.payment_reference
        ),
    )
    granted = await granting.grant(tx, figures.account_id, new.end_user_id, request, occasion.now)
    row = NewTopupRow(
        id=topup_id,
        account_id=figures.account_id,
        package_id=terms.package_id,
        block_id=granted.block_id,
        amount_micro=terms.amount_micro,
        price_paid=terms.price_paid,
        currency=terms.currency,
        payment_reference=new.payment_reference,
        priority=terms.priority,
        expires_at=terms.expires_at,
        created_at=occasion.now,
    )
    await store.insert_topup(tx, row)
    made = await store.read_topup(tx, new.payment_reference)
    if made is None:
        message = "a top-up is gone in the transaction that made it"
        raise RuntimeError(message)
    body = show_topup(made)
    await outbox.leave(tx, EventType.TOPUP_GRANTED, new.end_user_id, body, occasion.now)
    return body


async def _terms(tx: Transaction, new: NewTopup, now: datetime) -> Terms:
    """What the payment buys: the package's terms, or those that were sent."""
    if new.package_key is None:
        if new.credits is None or new.price_paid is None or new.currency is None:
            message = "a top-up without a package says its credits and its price: see check_topup"
            raise RuntimeError(message)
        return Terms(None, new.credits.micro, new.price_paid, new.currency, DEFAULT_PRIORITY, None)
    package = await find_package(tx, new.package_key)
    if not package.active:
        detail = f"The top-up package {package.key!r} is not sold any more. Nothing was granted."
        raise ServiceError(Code.PACKAGE_INACTIVE, detail)
    days = package.expires_after_days
    price_paid, currency = _price(new, package)
    expires_at = now + timedelta(days=days) if days else None
    return Terms(package.id, package.amount_micro, price_paid, currency, package.priority, expires_at)


def _price(new: NewTopup, package: TopupPackage) -> tuple[int, str]:
    """What was paid: as it was sent (a discount, another currency), else the package's price."""
    if new.price_paid is None or new.currency is None:
        return package.price_paid, package.currency
    return new.price_paid, new.currency


async def _repeat(tx: Transaction, new: NewTopup, earlier: TopupRow) -> Repeated:
    """The same payment once more: the same answer, also where the package is not sold any more.

    Raises ServiceError(PAYMENT_REFERENCE_USED) where it is not the same.
    """
    if mismatch := await _mismatch(tx, new, earlier):
        differing = ", ".join(f"`{name}`" for name in mismatch)
        detail = (
            f"The payment reference {new.payment_reference!r} was used for a top-up with another value of "
            f"{differing}. Nothing was granted now; see context.topup."
        )
        context = {"topup": show_topup(earlier)}
        raise ServiceError(Code.PAYMENT_REFERENCE_USED, detail, mismatch=mismatch, context=context)
    return Repeated(show_topup(earlier))


async def _mismatch(tx: Transaction, new: NewTopup, earlier: TopupRow) -> list[str]:
    """Names of the fields in which a top-up differs from the one that its payment became."""
    price: tuple[int | None, str | None] = (new.price_paid, new.currency)
    if new.package_key is not None and new.package_key == earlier.package_key:
        price = _price(new, await find_package(tx, new.package_key))
    asked = {"end_user_id": new.end_user_id, "package_key": new.package_key}
    before = {"end_user_id": earlier.end_user_id, "package_key": earlier.package_key}
    if new.credits is not None:
        asked["credits"], before["credits"] = str(new.credits.micro), str(earlier.amount_micro)
    if price != (None, None):
        asked["price_paid"], asked["currency"] = str(price[0]), price[1]
        before["price_paid"], before["currency"] = str(earlier.price_paid), earlier.currency
    return sorted(name for name in asked if asked[name] != before[name])
