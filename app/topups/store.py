"""Rows of packages and top-ups."""
# Piccolo does not say what its foreign keys point at.
# pyright: reportUnknownMemberType=false

from datetime import datetime
from uuid import UUID

import msgspec

from app.io.postgres import Transaction
from app.io.statements import statements
from app.topups.tables import TopupPackage

_SQL = statements("app.topups")


class NewTopupRow(msgspec.Struct, frozen=True):
    """A top-up as it goes into its table."""

    id: UUID
    account_id: UUID
    package_id: UUID | None
    block_id: UUID
    amount_micro: int
    price_paid: int
    currency: str
    payment_reference: str
    priority: int
    expires_at: datetime | None
    created_at: datetime


class TopupRow(msgspec.Struct, frozen=True):
    """A top-up with the names of whose it is and of what."""

    id: UUID
    end_user_id: str
    package_key: str | None
    block_id: UUID
    amount_micro: int
    price_paid: int
    currency: str
    payment_reference: str
    priority: int
    expires_at: datetime | None
    created_at: datetime


async def insert_package(package: TopupPackage) -> bool:
    """Add the package; False where there is one with this key."""
    unique = (TopupPackage.environment_id, TopupPackage.key)
    query = TopupPackage.insert(package).on_conflict(target=unique, action="DO NOTHING")
    return bool(await query.returning(TopupPackage.id))


async def read_package(tx: Transaction, key: str) -> TopupPackage | None:
    """The package with this key."""
    query = TopupPackage.objects().where(TopupPackage.environment_id == tx.environment, TopupPackage.key == key)
    return await query.first()


async def lock_package(tx: Transaction, key: str) -> TopupPackage | None:
    """The same, kept as it is until the transaction ends."""
    query = TopupPackage.objects().where(TopupPackage.environment_id == tx.environment, TopupPackage.key == key)
    return await query.lock_rows("UPDATE").first()


async def list_packages(tx: Transaction, after: str | None, limit: int) -> list[TopupPackage]:
    """Packages by key, after the key `after`."""
    query = TopupPackage.objects().where(TopupPackage.environment_id == tx.environment)
    if after is not None:
        query = query.where(TopupPackage.key > after)
    return await query.order_by(TopupPackage.key).limit(limit)


async def set_active(tx: Transaction, key: str, *, active: bool) -> None:
    """Put the package on sale, or take it off."""
    await TopupPackage.update({TopupPackage.active: active}).where(
        TopupPackage.environment_id == tx.environment, TopupPackage.key == key
    )


async def lock_payment_reference(tx: Transaction, payment_reference: str) -> None:
    """Wait until nobody else is working on this payment, and have others wait until the transaction ends."""
    await tx.connection.execute(_SQL["lock_payment_reference"], str(tx.environment), payment_reference)


async def read_topup(tx: Transaction, payment_reference: str) -> TopupRow | None:
    """What this payment became; None = nothing yet."""
    row = await tx.connection.fetchrow(_SQL["read_topup_by_reference"], tx.environment, payment_reference)
    return None if row is None else TopupRow(*row)


async def insert_topup(tx: Transaction, topup: NewTopupRow) -> None:
    """Add a top-up. Raises UniqueViolationError where its payment reference has one."""
    await tx.connection.execute(_SQL["insert_topup"], tx.environment, *msgspec.structs.astuple(topup))


async def list_topups(tx: Transaction, account_id: UUID | None, before: UUID | None, limit: int) -> list[TopupRow]:
    """Top-ups, newest first, below the id `before`; of one customer or of all."""
    rows = await tx.connection.fetch(_SQL["list_topups"], tx.environment, account_id, before, limit)
    return [TopupRow(*row) for row in rows]
