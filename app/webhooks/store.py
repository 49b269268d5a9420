"""Rows of what is told: queues, attempts, feeds. What routes read and write is in `endpoint_store`."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from app.io.ids import new_id
from app.io.postgres import Record, Transaction
from app.io.statements import statements
from app.rules.moments import to_datetime
from app.webhooks.deciding import Attempt, Health, State
from app.webhooks.filtering import Delivery, Event, Recipient
from app.webhooks.sending import Claimed, Head, QueueKey, Secrets, Told

_SQL = statements("app.webhooks")


class Asked(msgspec.Struct, frozen=True):
    """Which queues a process asks for."""

    claim: UUID
    most: int
    room: int
    """How many of one endpoint of which nothing is said."""
    rooms: Mapping[UUID, int]
    """By endpoint."""
    environment_room: int
    """How many of one environment of which nothing is said."""
    environment_rooms: Mapping[UUID, int]
    """By environment."""


class Settled(msgspec.Struct, frozen=True):
    """How a queue stands after an attempt."""

    key: QueueKey
    done: int
    """By how many it is shorter."""
    due_at: datetime
    goes_on: bool


class Backlog(msgspec.Struct, frozen=True):
    """How much waits to be told."""

    unplaced: int
    waiting: int
    due_since: datetime | None


class Endpoint(msgspec.Struct, frozen=True):
    """An endpoint as attempts change it."""

    environment_id: UUID
    id: UUID
    url: str
    enabled: bool
    failing_since: datetime | None


# ---- spreading


async def try_relay_lock(tx: Transaction) -> bool:
    """Whether this transaction alone gives places in feeds."""
    return await tx.connection.fetchval(_SQL["try_relay_lock"])


async def list_unrelayed(tx: Transaction, limit: int) -> list[Event]:
    """What was written first of all that has no place yet."""
    return [Event(*row) for row in await tx.connection.fetch(_SQL["list_unrelayed"], limit)]


async def list_recipients(
    tx: Transaction, environment_ids: Collection[UUID], disabled_after: datetime
) -> dict[UUID, list[Recipient]]:
    """Who is told of what happens in each environment; endpoints that were disabled before then are not."""
    found: dict[UUID, list[Recipient]] = defaultdict(list)
    for row in await tx.connection.fetch(_SQL["list_recipients"], list(environment_ids), disabled_after):
        types = row["event_types"]
        found[row["environment_id"]].append(
            Recipient(row["environment_id"], row["id"], None if types is None else tuple(types))
        )
    return found


async def read_feeds(tx: Transaction, environment_ids: Collection[UUID]) -> dict[UUID, int]:
    """How many events feeds have."""
    rows = await tx.connection.fetch(_SQL["read_feeds"], list(environment_ids))
    return {row["environment_id"]: row["last_position"] for row in rows}


async def write_positions(
    tx: Transaction, placed: Sequence[tuple[Event, int]], last_positions: Mapping[UUID, int], now: datetime
) -> None:
    """Give events their places, and feeds their ends."""
    await tx.connection.execute(_SQL["write_feeds"], list(last_positions), list(last_positions.values()))
    await tx.connection.execute(
        _SQL["write_positions"],
        [event.environment_id for event, _ in placed],
        [event.id for event, _ in placed],
        [position for _, position in placed],
        now,
    )


async def queue(tx: Transaction, deliveries: Sequence[Delivery], now: datetime) -> int:
    """Have events wait for endpoints, in this order; how many did not wait already."""
    if not deliveries:
        return 0
    return await tx.connection.fetchval(
        _SQL["queue_deliveries"],
        [each.environment_id for each in deliveries],
        [new_id(now) for _ in deliveries],
        [each.endpoint_id for each in deliveries],
        [each.event_id for each in deliveries],
        [each.end_user_id for each in deliveries],
        now,
    )


async def queue_again(tx: Transaction, deliveries: Sequence[Delivery], now: datetime) -> None:
    """The same for events that may be on their way already: whoever sends them has locked their queues first, too."""
    keys = {QueueKey(each.environment_id, each.endpoint_id, each.end_user_id) for each in deliveries}
    await tx.connection.execute(_SQL["lock_queues"], *_keys(sorted(keys)), now)
    await queue(tx, deliveries, now)


async def take_replay(tx: Transaction, after: UUID) -> Record | None:
    """A replay of the environment behind `after`, which nobody else goes on with until the transaction ends."""
    return await tx.connection.fetchrow(_SQL["take_replay"], after)


async def list_replayed(tx: Transaction, environment_id: UUID, first: int, last: int) -> list[Event]:
    """Events of a part of a feed, in its order."""
    return [Event(*row) for row in await tx.connection.fetch(_SQL["list_replayed"], environment_id, first, last)]


async def move_replay(tx: Transaction, environment_id: UUID, replay_id: UUID, next_position: int | None) -> None:
    """How far a replay has come; None = to its end."""
    if next_position is None:
        await tx.connection.execute(_SQL["delete_replay"], environment_id, replay_id)
    else:
        await tx.connection.execute(_SQL["move_replay"], environment_id, replay_id, next_position)


# ---- delivering


async def claim_queues(tx: Transaction, asked: Asked, now: datetime, until: datetime) -> list[QueueKey]:
    """Take queues that are due, until then."""
    rows = await tx.connection.fetch(
        _SQL["claim_queues"],
        *(now, until, asked.claim, asked.most, asked.room),
        *(list(asked.rooms), list(asked.rooms.values()), asked.environment_room),
        *(list(asked.environment_rooms), list(asked.environment_rooms.values())),
    )
    return [QueueKey(*row) for row in rows]


async def read_heads(tx: Transaction, queues: Sequence[Claimed]) -> list[Head]:
    """What is first in queues that this process has; of an endpoint that is disabled or deleted nothing."""
    if not queues:
        return []
    rows = await tx.connection.fetch(_SQL["read_heads"], *_keys([each.key for each in queues]), _claims(queues))
    return [_head(row) for row in rows]


def _head(row: Record) -> Head:
    event = Told(
        row["event_id"],
        row["type"],
        row["created_at"],
        row["sequence"],
        row["whose"],
        row["data"].encode(),
        row["traceparent"],
    )
    return Head(
        Claimed(QueueKey(row["environment_id"], row["endpoint_id"], row["end_user_id"]), row["claim"]),
        row["id"],
        row["attempts"],
        row["attempts_before"],
        event,
        row["url"],
        Secrets(row["secret_version"], row["rotated_until"]),
        row["is_failing"],
    )


async def hold_queues(tx: Transaction, queues: Sequence[Claimed]) -> set[Claimed]:
    """Which of them this process still has; nobody takes those until the transaction ends."""
    rows = await tx.connection.fetch(_SQL["hold_queues"], *_keys([each.key for each in queues]), _claims(queues))
    return {Claimed(QueueKey(*row[:3]), row["claim"]) for row in rows}


async def give_back(tx: Transaction, queues: Sequence[Claimed], now: datetime) -> None:
    """Have queues taken by anybody."""
    keys = _keys([each.key for each in queues])
    await tx.connection.execute(_SQL["give_back_queues"], *keys, _claims(queues), now)


async def insert_attempts(tx: Transaction, made: Sequence[tuple[Head, Attempt]]) -> set[tuple[UUID, UUID]]:
    """Remember attempts; environment and delivery of those that were not remembered already."""
    rows = await tx.connection.fetch(
        _SQL["insert_attempts"],
        [head.queue.key.environment_id for head, _ in made],
        [head.delivery_id for head, _ in made],
        [head.attempts + 1 for head, _ in made],
        [to_datetime(attempt.at) for _, attempt in made],
        [attempt.status for _, attempt in made],
        [attempt.failure for _, attempt in made],
        [attempt.elapsed_ms for _, attempt in made],
        [attempt.answer for _, attempt in made],
    )
    return {(row["environment_id"], row["delivery_id"]) for row in rows}


async def settle_deliveries(tx: Transaction, settled: Sequence[tuple[Head, State]], now: datetime) -> None:
    """Where deliveries stand after one more attempt."""
    await tx.connection.execute(
        _SQL["settle_deliveries"],
        [head.queue.key.environment_id for head, _ in settled],
        [head.delivery_id for head, _ in settled],
        [state.value for _, state in settled],
        now,
    )


async def settle_queues(tx: Transaction, settled: Sequence[Settled]) -> list[QueueKey]:
    """How queues stand after attempts, which this process holds; those that go on and have something to go on with."""
    rows = await tx.connection.fetch(
        _SQL["settle_queues"],
        *_keys([each.key for each in settled]),
        [each.done for each in settled],
        [each.due_at for each in settled],
        [each.goes_on for each in settled],
    )
    empty = [QueueKey(*row[:3]) for row in rows if not row["waiting"]]
    if empty:
        await tx.connection.execute(_SQL["delete_empty_queues"], *_keys(empty))
    return [QueueKey(*row[:3]) for row in rows if row["waiting"] and row["goes_on"]]


async def lock_endpoints(tx: Transaction, keys: Sequence[tuple[UUID, UUID]]) -> list[Endpoint]:
    """Endpoints by (environment, id), locked until the transaction ends."""
    environment_ids, endpoint_ids = [key[0] for key in keys], [key[1] for key in keys]
    rows = await tx.connection.fetch(_SQL["lock_endpoints"], environment_ids, endpoint_ids)
    return [Endpoint(*row) for row in rows]


async def write_health(tx: Transaction, changed: Sequence[tuple[Endpoint, Health]], now: datetime) -> None:
    """How it goes with endpoints that are locked."""
    if not changed:
        return
    await tx.connection.execute(
        _SQL["write_health"],
        [endpoint.environment_id for endpoint, _ in changed],
        [endpoint.id for endpoint, _ in changed],
        [None if health.failing_since is None else to_datetime(health.failing_since) for _, health in changed],
        [None if health.disabled is None else health.disabled.value for _, health in changed],
        now,
    )


async def read_backlog(tx: Transaction) -> Backlog:
    """How much waits now."""
    row = await tx.connection.fetchrow(_SQL["read_backlog"])
    return Backlog(0, 0, None) if row is None else Backlog(*row)


# ---- forgetting


async def list_feeds(tx: Transaction, after: UUID, limit: int) -> list[UUID]:
    """Environments in which something happened, behind one of them."""
    return [row["environment_id"] for row in await tx.connection.fetch(_SQL["list_feeds"], after, limit)]


async def lock_dropped_queues(
    tx: Transaction, environment_id: UUID, disabled_before: datetime, limit: int
) -> list[QueueKey]:
    """Some queues of which nothing is to be sent any more, locked until the transaction ends."""
    rows = await tx.connection.fetch(_SQL["lock_dropped_queues"], environment_id, disabled_before, limit)
    return [QueueKey(*row) for row in rows]


async def drop_deliveries(tx: Transaction, queues: Sequence[QueueKey], most: int) -> None:
    """Let go of what waits in queues that are locked, so many of each at most, and of those that are empty then."""
    if queues:
        await tx.connection.execute(_SQL["drop_deliveries"], *_keys(queues), most)
        await tx.connection.execute(_SQL["delete_empty_queues"], *_keys(queues))


async def forget_deliveries(
    tx: Transaction, environment_id: UUID, before_id: UUID, before: datetime, limit: int
) -> int:
    """Forget deliveries that ended before then; how many."""
    return await tx.connection.fetchval(_SQL["forget_deliveries"], environment_id, before_id, before, limit)


async def forget_events(tx: Transaction, environment_id: UUID, before: datetime, limit: int) -> int:
    """Forget events that were told before then and are in no delivery; how many."""
    rows = await tx.connection.fetch(_SQL["lock_old_events"], environment_id, before, limit)
    # In a statement of its own: it sees what was queued again just before they were locked.
    await tx.connection.execute(_SQL["forget_events"], environment_id, [row["id"] for row in rows])
    return len(rows)


async def forget_endpoints(tx: Transaction, environment_id: UUID) -> None:
    """Forget endpoints that were deleted and of which nothing is left."""
    await tx.connection.execute(_SQL["forget_replays"], environment_id)
    rows = await tx.connection.fetch(_SQL["lock_deleted_endpoints"], environment_id)
    # In a statement of its own: it sees what was queued just before they were locked.
    await tx.connection.execute(_SQL["forget_endpoints"], environment_id, [row["id"] for row in rows])


def _keys(keys: Sequence[QueueKey]) -> tuple[list[UUID], list[UUID], list[str]]:
    return (
        [key.environment_id for key in keys],
        [key.endpoint_id for key in keys],
        [key.end_user_id for key in keys],
    )


def _claims(queues: Sequence[Claimed]) -> list[UUID]:
    return [each.claim for each in queues]
