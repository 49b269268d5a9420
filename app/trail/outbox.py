"""Word of what happened, left in the transaction that made it happen. Someone higher delivers it."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec

from app.io.ids import new_id
from app.io.postgres import Transaction
from app.rules.moments import to_datetime
from app.trail import store


class EventType(StrEnum):
    """What can have happened."""

    CUSTOMER_CREATED = "customer.created"
    CREDITS_GRANTED = "credits.granted"
    CREDITS_ADJUSTED = "credits.adjusted"
    CREDITS_LOW = "credits.low"
    CREDITS_DEPLETED = "credits.depleted"
    CREDITS_EXPIRED = "credits.expired"
    USAGE_OVERAGE = "usage.overage"
    USAGE_REJECTED = "usage.rejected"
    RESERVATION_EXPIRED = "reservation.expired"
    RESERVATION_COMMITTED_LATE = "reservation.committed_late"
    SUBSCRIPTION_CREATED = "subscription.created"
    SUBSCRIPTION_UPDATED = "subscription.updated"
    SUBSCRIPTION_TRIAL_ENDING = "subscription.trial_ending"
    SUBSCRIPTION_RENEWAL_DUE = "subscription.renewal_due"
    SUBSCRIPTION_RENEWED = "subscription.renewed"
    SUBSCRIPTION_OVERDUE = "subscription.overdue"
    SUBSCRIPTION_EXPIRED = "subscription.expired"
    SUBSCRIPTION_UPGRADED = "subscription.upgraded"
    SUBSCRIPTION_DOWNGRADED = "subscription.downgraded"
    SUBSCRIPTION_PAUSED = "subscription.paused"
    SUBSCRIPTION_RESUMED = "subscription.resumed"
    SUBSCRIPTION_CANCELED = "subscription.canceled"
    SUBSCRIPTION_FELL_BACK = "subscription.fell_back"
    TOPUP_GRANTED = "topup.granted"
    WEBHOOK_ENDPOINT_DISABLED = "webhook_endpoint.disabled"
    WEBHOOK_TEST = "webhook.test"


class Announcement(msgspec.Struct, frozen=True):
    """Word of what was done in any environment. `id` is derived from what happened, so that it is told once."""

    environment_id: UUID
    id: UUID
    type: EventType
    end_user_id: str | None
    """None where it concerns no customer."""
    data: msgspec.Struct
    """What a webhook will show."""
    at: int
    """When it happened, by the stream's time."""


async def leave(
    tx: Transaction, event_type: EventType, end_user_id: str | None, data: msgspec.Struct, now: datetime
) -> UUID:
    """Leave word, under the id that is answered; `data` is what a webhook will show."""
    event = store.OutboxEvent(new_id(now), event_type, end_user_id, data, now)
    await store.insert_outbox(tx, event)
    return event.id


async def announce(tx: Transaction, announcements: Sequence[Announcement]) -> None:
    """Leave word of what happened in any environments, in this order; what has been told already is left out."""
    events = [
        (said.environment_id, store.OutboxEvent(said.id, said.type, said.end_user_id, said.data, to_datetime(said.at)))
        for said in announcements
    ]
    await store.insert_announced(tx, events)
