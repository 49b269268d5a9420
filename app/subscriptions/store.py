"""Rows of subscriptions."""

from datetime import datetime
from uuid import UUID

import msgspec

from app.io.postgres import Transaction
from app.subscriptions.tables import Subscription


class SubscriptionRow(msgspec.Struct, frozen=True):
    """A subscription with the names of what it is of."""

    id: UUID
    end_user_id: str
    variant_id: UUID
    plan_key: str
    variant_key: str
    version: int
    state: str
    period_start_at: datetime
    period_end_at: datetime
    created_at: datetime


async def insert_subscription(tx: Transaction, subscription: Subscription) -> bool:
    """Add the subscription; False where the customer has one in force."""
    statement = """
        INSERT INTO subscriptions (environment_id, id, customer_id, variant_id, variant_version_id, state, anchor_at,
                                   period_start_at, period_end_at, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        ON CONFLICT (environment_id, customer_id) WHERE state NOT IN ('canceled', 'expired') DO NOTHING
        RETURNING true
    """
    row = (
        tx.environment,
        subscription.id,
        subscription.customer_id,
        subscription.variant_id,
        subscription.variant_version_id,
        subscription.state,
        subscription.anchor_at,
        subscription.period_start_at,
        subscription.period_end_at,
        subscription.created_at,
    )
    return bool(await tx.connection.fetchval(statement, *row))


async def read_id_in_force(tx: Transaction, customer_id: UUID) -> UUID | None:
    """The customer's subscription in force."""
    statement = """
        SELECT id FROM subscriptions
        WHERE environment_id = $1 AND customer_id = $2 AND state NOT IN ('canceled', 'expired')
    """
    return await tx.connection.fetchval(statement, tx.environment, customer_id)


async def read_subscription(tx: Transaction, subscription_id: UUID) -> SubscriptionRow | None:
    """The subscription with this id."""
    row = await tx.connection.fetchrow(f"{_SUBSCRIPTIONS} AND s.id = $2", tx.environment, subscription_id)
    return None if row is None else SubscriptionRow(*row)


async def list_subscriptions(
    tx: Transaction, end_user_id: str | None, after: UUID | None, limit: int
) -> list[SubscriptionRow]:
    """Subscriptions in the order in which they were made, after the one with the id `after`; None = of everyone."""
    statement = f"""
        {_SUBSCRIPTIONS} AND ($2::text IS NULL OR c.end_user_id = $2) AND ($3::uuid IS NULL OR s.id > $3)
        ORDER BY s.id LIMIT $4
    """
    rows = await tx.connection.fetch(statement, tx.environment, end_user_id, after, limit)
    return [SubscriptionRow(*row) for row in rows]


_SUBSCRIPTIONS = """
    SELECT s.id, c.end_user_id, s.variant_id, p.key, v.key, n.version, s.state, s.period_start_at, s.period_end_at,
           s.created_at
    FROM subscriptions s
    JOIN customers c ON c.environment_id = s.environment_id AND c.id = s.customer_id
    JOIN plan_variants v ON v.environment_id = s.environment_id AND v.id = s.variant_id
    JOIN plan_variant_versions n ON n.environment_id = s.environment_id AND n.id = s.variant_version_id
    JOIN plans p ON p.environment_id = s.environment_id AND p.id = v.plan_id
    WHERE s.environment_id = $1
"""
