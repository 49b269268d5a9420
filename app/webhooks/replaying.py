"""A range of the feed is queued again for an endpoint, step by step; but no tests, which have served."""

from datetime import datetime
from uuid import UUID

import msgspec

from app.io.postgres import Transaction
from app.trail.outbox import EventType
from app.webhooks import store
from app.webhooks.filtering import Delivery, Recipient, is_for

EVENTS_A_STEP = 1_000


class Replay(msgspec.Struct, frozen=True):
    """What of a range is left."""

    environment_id: UUID
    id: UUID
    endpoint_id: UUID
    event_types: list[str] | None
    next_position: int
    last_position: int


async def step(tx: Transaction, after: UUID, now: datetime) -> UUID | None:
    """Queue some of a replay of the environment behind `after`; which one it was, or None where none has any."""
    row = await store.take_replay(tx, after)
    if row is None:
        return None
    replay = Replay(*row)
    end = min(replay.next_position + EVENTS_A_STEP - 1, replay.last_position)
    types = None if replay.event_types is None else tuple(replay.event_types)
    recipient = Recipient(replay.environment_id, replay.endpoint_id, types)
    events = await store.list_replayed(tx, replay.environment_id, replay.next_position, end)
    wanted = [
        Delivery(event.environment_id, replay.endpoint_id, event.id, event.end_user_id or "")
        for event in events
        if event.type != EventType.WEBHOOK_TEST and is_for(recipient, event)
    ]
    await store.queue_again(tx, wanted, now)
    await store.move_replay(tx, replay.environment_id, replay.id, None if end == replay.last_position else end + 1)
    return replay.environment_id
