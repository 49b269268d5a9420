"""What is forgotten: deliveries, attempts and events after KEPT, and what waits for who will not be told any more."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from app.io.postgres import Transaction
from app.rules.moments import to_at
from app.webhooks import store
from app.webhooks.deciding import KEPT
from app.wire.ids import uuid7

ROWS_AT_ONCE = 1_000
QUEUES_AT_ONCE = 100
OF_A_QUEUE = 100


async def list_environments(tx: Transaction, after: UUID, limit: int) -> Sequence[UUID]:
    """Environments in which something happened, behind one of them."""
    return await store.list_feeds(tx, after, limit)


async def forget(tx: Transaction, environment_id: UUID, now: datetime) -> bool:
    """Forget some of what is old in an environment; whether there may be more."""
    before = now - KEPT
    queues = await store.lock_dropped_queues(tx, environment_id, before, QUEUES_AT_ONCE)
    await store.drop_deliveries(tx, queues, OF_A_QUEUE)
    deliveries = await store.forget_deliveries(tx, environment_id, uuid7(to_at(before), 0), before, ROWS_AT_ONCE)
    events = await store.forget_events(tx, environment_id, before, ROWS_AT_ONCE)
    await store.forget_endpoints(tx, environment_id)
    return bool(queues) or ROWS_AT_ONCE in {deliveries, events}
