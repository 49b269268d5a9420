"""Rows of overrides."""

from datetime import datetime
from uuid import UUID

import msgspec

from app.io.postgres import Transaction
from app.io.statements import statements

_SQL = statements("app.overrides")


class OverrideRow(msgspec.Struct, frozen=True):
    """What a customer has of a feature; None = as the plan says."""

    customer_id: UUID
    feature_id: UUID
    included: bool | None
    value: str | None
    """JSON."""
    sets_limit: bool
    limit_units_micro: int | None
    """Where `sets_limit`; None = no limit."""
    overage_policy: str | None
    overage_limit_micro: int | None
    """Goes with the policy; None = no limit."""
    expires_at: datetime | None
    updated_at: datetime


async def upsert_override(tx: Transaction, row: OverrideRow) -> None:
    """Keep the override, in place of the one that the customer has of the feature."""
    await tx.connection.execute(_SQL["upsert_override"], tx.environment, *msgspec.structs.astuple(row))


async def read_override(tx: Transaction, customer_id: UUID, feature_id: UUID) -> OverrideRow | None:
    """What the customer has of the feature."""
    row = await tx.connection.fetchrow(_SQL["read_override"], tx.environment, customer_id, feature_id)
    return None if row is None else OverrideRow(*row)


async def lock_override(tx: Transaction, customer_id: UUID, feature_id: UUID) -> OverrideRow | None:
    """The same, kept as it is until the transaction ends."""
    row = await tx.connection.fetchrow(_SQL["lock_override"], tx.environment, customer_id, feature_id)
    return None if row is None else OverrideRow(*row)


async def list_overrides(
    tx: Transaction, customer_id: UUID, after: str | None, limit: int
) -> list[tuple[str, OverrideRow]]:
    """What the customer has of their own, with the key of its feature and by it, after the key `after`."""
    rows = await tx.connection.fetch(_SQL["list_overrides"], tx.environment, customer_id, after, limit)
    return [(key, OverrideRow(*terms)) for key, *terms in rows]


async def delete_override(tx: Transaction, customer_id: UUID, feature_id: UUID) -> OverrideRow | None:
    """Take the override away; it as it was, None where there is none."""
    row = await tx.connection.fetchrow(_SQL["delete_override"], tx.environment, customer_id, feature_id)
    return None if row is None else OverrideRow(*row)
