"""Rows that routes read and write: endpoints, deliveries, replays, and the feed."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from app.io.postgres import Transaction
from app.io.statements import statements

_SQL = statements("app.webhooks")
ATTEMPTS_SHOWN = 20


class EndpointRow(msgspec.Struct, frozen=True):
    """An endpoint."""

    id: UUID
    url: str
    description: str
    event_types: list[str] | None
    enabled: bool
    disabled_reason: str | None
    disabled_at: datetime | None
    secret_version: int
    rotated_until: datetime | None
    failing_since: datetime | None
    created_at: datetime
    updated_at: datetime


class DeliveryRow(msgspec.Struct, frozen=True):
    """A delivery and its event."""

    id: UUID
    endpoint_id: UUID
    event_id: UUID
    event_type: str
    end_user_id: str | None
    sequence: int
    state: str
    attempts: int
    next_attempt_at: datetime | None
    created_at: datetime
    finished_at: datetime | None


class AttemptRow(msgspec.Struct, frozen=True):
    """An attempt."""

    delivery_id: UUID
    number: int
    at: datetime
    status: int | None
    failure: str | None
    elapsed_ms: int
    answer: str | None


class EventRow(msgspec.Struct, frozen=True):
    """An event of the feed."""

    id: UUID
    type: str
    end_user_id: str | None
    sequence: int
    created_at: datetime
    relayed_at: datetime
    data: str
    position: int


class DeliveryFilter(msgspec.Struct, frozen=True):
    """Which deliveries are asked for; None does not narrow it."""

    endpoint_id: UUID | None = None
    state: str | None = None
    event_id: UUID | None = None
    end_user_id: str | None = None


class NewReplayRow(msgspec.Struct, frozen=True):
    """A range of the feed to be queued again."""

    id: UUID
    endpoint_id: UUID
    event_types: list[str] | None
    next_position: int
    last_position: int
    created_at: datetime


async def lock_environment(tx: Transaction) -> None:
    """Wait for others who add endpoints or replays to this environment, and have others wait."""
    await tx.connection.execute(_SQL["lock_endpoints_of_environment"], str(tx.environment))


async def count_endpoints(tx: Transaction) -> int:
    """How many endpoints the environment has."""
    return await tx.connection.fetchval(_SQL["count_endpoints"], tx.environment)


async def write_endpoint(tx: Transaction, row: EndpointRow) -> None:
    """Insert an endpoint, or put it in the place of what it was."""
    await tx.connection.execute(_SQL["upsert_endpoint"], tx.environment, *msgspec.structs.astuple(row))


async def list_endpoints(tx: Transaction, after: UUID | None, limit: int) -> list[EndpointRow]:
    """Endpoints in the order in which they were made."""
    rows = await tx.connection.fetch(_SQL["list_endpoints"], tx.environment, after, limit)
    return [EndpointRow(*row) for row in rows]


async def read_endpoint(tx: Transaction, endpoint_id: UUID, *, lock: bool) -> EndpointRow | None:
    """One endpoint, perhaps locked against other changes until the transaction ends."""
    statement = _SQL["lock_endpoint" if lock else "read_endpoint"]
    row = await tx.connection.fetchrow(statement, tx.environment, endpoint_id)
    return None if row is None else EndpointRow(*row)


async def delete_endpoint(tx: Transaction, endpoint_id: UUID, now: datetime) -> None:
    """Nobody sees the endpoint any more; jobs removes what is left of it."""
    await tx.connection.execute(_SQL["delete_endpoint"], tx.environment, endpoint_id, now)


async def wake_queues(tx: Transaction, endpoint_id: UUID, now: datetime) -> None:
    """Whatever waits for the endpoint is due."""
    await tx.connection.execute(_SQL["wake_queues"], tx.environment, endpoint_id, now)


async def wake_queue(tx: Transaction, endpoint_id: UUID, end_user_id: str, now: datetime) -> None:
    """What waits for the endpoint of a customer's events is due, unless it is being sent."""
    await tx.connection.execute(_SQL["wake_queue"], tx.environment, endpoint_id, end_user_id, now)


async def list_deliveries(tx: Transaction, asked: DeliveryFilter, before: UUID | None, limit: int) -> list[DeliveryRow]:
    """Deliveries, the newest first, below an id."""
    narrowing = msgspec.structs.astuple(asked)
    rows = await tx.connection.fetch(_SQL["list_deliveries"], tx.environment, *narrowing, before, limit)
    return [DeliveryRow(*row) for row in rows]


async def read_delivery(tx: Transaction, delivery_id: UUID) -> DeliveryRow | None:
    """One delivery."""
    row = await tx.connection.fetchrow(_SQL["read_delivery"], tx.environment, delivery_id)
    return None if row is None else DeliveryRow(*row)


async def list_attempts(tx: Transaction, delivery_ids: Sequence[UUID]) -> dict[UUID, list[AttemptRow]]:
    """The latest attempts of deliveries, the earliest of them first."""
    found: dict[UUID, list[AttemptRow]] = defaultdict(list)
    for row in await tx.connection.fetch(_SQL["list_attempts"], tx.environment, list(delivery_ids), ATTEMPTS_SHOWN):
        found[row["delivery_id"]].append(AttemptRow(*row))
    return found


async def find_events(tx: Transaction, event_ids: Sequence[UUID]) -> list[EventRow]:
    """Events of the feed with these ids, in its order."""
    rows = await tx.connection.fetch(_SQL["find_events"], tx.environment, list(event_ids))
    return [EventRow(*row) for row in rows]


async def read_range(tx: Transaction, since: datetime, until: datetime) -> tuple[int, int] | None:
    """The first and the last place of what was told in a time; None where nothing was."""
    row = await tx.connection.fetchrow(_SQL["read_range"], tx.environment, since, until)
    return None if row is None or row[0] is None else (row[0], row[1])


async def count_replays(tx: Transaction) -> int:
    """How many ranges are being queued again."""
    return await tx.connection.fetchval(_SQL["count_replays"], tx.environment)


async def insert_replay(tx: Transaction, row: NewReplayRow) -> None:
    """Have a range of the feed queued again."""
    await tx.connection.execute(_SQL["insert_replay"], tx.environment, *msgspec.structs.astuple(row))


async def read_feed_ends(tx: Transaction) -> tuple[int, int]:
    """The place before the first event that is kept, and the place of the last one."""
    row = await tx.connection.fetchrow(_SQL["read_feed_ends"], tx.environment)
    return (0, 0) if row is None else (row[0], row[1])


async def list_events(
    tx: Transaction, after: int, until: int, event_type: str | None, end_user_id: str | None, *, limit: int
) -> list[EventRow]:
    """Events behind one place, up to another."""
    rows = await tx.connection.fetch(_SQL["list_events"], tx.environment, after, until, event_type, end_user_id, limit)
    return [EventRow(*row) for row in rows]
