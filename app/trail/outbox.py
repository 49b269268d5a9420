"""Word of what happened, left in the transaction that made it happen. Someone higher delivers it."""

from datetime import datetime
from enum import StrEnum

import msgspec

from app.io.ids import new_id
from app.io.postgres import Transaction
from app.trail import store


class EventType(StrEnum):
    """What can have happened."""

    CUSTOMER_CREATED = "customer.created"
    CREDITS_GRANTED = "credits.granted"
    CREDITS_ADJUSTED = "credits.adjusted"
    SUBSCRIPTION_CREATED = "subscription.created"


async def leave(
    tx: Transaction, event_type: EventType, end_user_id: str | None, data: msgspec.Struct, now: datetime
) -> None:
    """Leave word; `data` is what a webhook will show."""
    await store.insert_outbox(tx, store.OutboxEvent(new_id(now), event_type, end_user_id, data, now))
