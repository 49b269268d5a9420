"""Subscribing customers to plans."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from app.customers import service as customers
from app.customers.tables import Customer
from app.errors import ServiceError
from app.io.ids import new_id
from app.io.postgres import Transaction
from app.ledger import granting
from app.ledger import service as ledger
from app.ledger.service import GrantRequest
from app.plans import service as plans
from app.plans import store as plan_store
from app.plans.store import Grant, Variant
from app.rules.periods import IntervalUnit, boundary
from app.subscriptions import store
from app.subscriptions.keeping import broken_terms
from app.subscriptions.schemas import NewSubscription, SubscriptionBody, parse_variant_id, show_subscription
from app.subscriptions.store import SubscriptionRow
from app.subscriptions.tables import Subscription
from app.trail import dirty, outbox
from app.trail.outbox import EventType
from app.wire.codes import Code
from app.wire.ids import show


class Occasion(msgspec.Struct, frozen=True):
    """When and by whom something is done, and in which zone periods are counted."""

    now: datetime
    zone: ZoneInfo
    actor: str
    idempotency_key: str | None


async def create_subscription(tx: Transaction, new: NewSubscription, occasion: Occasion) -> SubscriptionBody:
    """Subscribe a customer, from now on, and grant what the first period gives.

    Raises ServiceError: NOT_FOUND for the variant, TERMS_UNSUPPORTED, SUBSCRIPTION_EXISTS with the id of the one in
    force.
    """
    variant = await plans.find_variant(tx, parse_variant_id(new.plan_variant_id))
    grants = (await plan_store.read_grants(tx, [variant.version_id]))[variant.version_id]
    _require_kept(variant, grants)
    customer = await customers.ensure_customer(tx, new.end_user_id, occasion.now)
    account_id = await ledger.ensure_account(tx, customer.id, customer.end_user_id, occasion.now)
    unit = IntervalUnit(variant.interval_unit)
    period_end_at = boundary(occasion.now, unit, variant.interval_count, 1, occasion.zone)
    subscription = Subscription(
        environment_id=tx.environment,
        id=new_id(occasion.now),
        customer_id=customer.id,
        variant_id=variant.id,
        variant_version_id=variant.version_id,
        state="active",
        anchor_at=occasion.now,
        period_start_at=occasion.now,
        period_end_at=period_end_at,
        created_at=occasion.now,
    )
    if not await store.insert_subscription(tx, subscription):
        raise await _exists(tx, customer.id, new.end_user_id)
    await _grant_period(tx, customer, grants, subscription, occasion)
    dirty.mark(tx, account_id)
    body = show_subscription(await find_subscription(tx, subscription.id))
    await outbox.leave(tx, EventType.SUBSCRIPTION_CREATED, new.end_user_id, body, occasion.now)
    return body


async def find_subscription(tx: Transaction, subscription_id: UUID) -> SubscriptionRow:
    """The subscription with this id. Raises ServiceError(NOT_FOUND)."""
    row = await store.read_subscription(tx, subscription_id)
    if row is None:
        raise ServiceError(Code.NOT_FOUND, f"No subscription has the id {show('sub', subscription_id)}.")
    return row


def _require_kept(variant: Variant, grants: Sequence[Grant]) -> None:
    """Raises ServiceError(TERMS_UNSUPPORTED) for a version that says what subscriptions do not keep."""
    broken = broken_terms(variant, grants)
    if broken:
        version = f"version {variant.version} of {variant.plan_key}/{variant.key}"
        raise ServiceError(Code.TERMS_UNSUPPORTED, f"Subscriptions do not keep all terms of {version}: {broken[0]}.")


async def _grant_period(
    tx: Transaction, customer: Customer, grants: Sequence[Grant], subscription: Subscription, occasion: Occasion
) -> None:
    """Grant what the plan gives for a period; what is left of it expires with the period."""
    for grant in grants:
        request = GrantRequest(
            amount_micro=grant.amount_micro,
            source="plan",
            priority=grant.priority,
            effective_at=occasion.now,
            expires_at=subscription.period_end_at,
            paid=False,
            actor=occasion.actor,
            reason=show("sub", subscription.id),
            idempotency_key=occasion.idempotency_key,
        )
        await granting.grant(tx, customer.id, customer.end_user_id, request, occasion.now)


async def _exists(tx: Transaction, customer_id: UUID, end_user_id: str) -> ServiceError:
    in_force = await store.read_id_in_force(tx, customer_id)
    detail = f"The customer {end_user_id!r} has a subscription already."
    context = {} if in_force is None else {"subscription_id": show("sub", in_force)}
    return ServiceError(Code.SUBSCRIPTION_EXISTS, detail, context=context)
