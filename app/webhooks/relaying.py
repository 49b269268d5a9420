"""The next events of the outbox get their places, and wait for endpoints."""

from datetime import datetime

from app.io.postgres import Transaction
from app.webhooks import store
from app.webhooks.deciding import KEPT
from app.webhooks.filtering import spread

EVENTS_AT_ONCE = 1_000
DELIVERIES_AT_ONCE = 5_000
"""More than this only where one event alone has as many."""


async def relay(tx: Transaction, now: datetime) -> bool:
    """Place what was written first; whether there may be more. Where another process is at it, nothing is done."""
    if not await store.try_relay_lock(tx):
        return False
    events = await store.list_unrelayed(tx, EVENTS_AT_ONCE)
    if not events:
        return False
    environment_ids = {event.environment_id for event in events}
    recipients = await store.list_recipients(tx, environment_ids, now - KEPT)
    done = spread(events, recipients, await store.read_feeds(tx, environment_ids), DELIVERIES_AT_ONCE)
    await store.write_positions(tx, list(zip(events, done.positions, strict=False)), done.last_positions, now)
    await store.queue(tx, done.deliveries, now)
    return len(events) == EVENTS_AT_ONCE or len(done.positions) < len(events)
