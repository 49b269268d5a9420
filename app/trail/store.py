"""Rows of the trail."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from app.io.postgres import Transaction
from app.io.statements import statements
from app.web.bodies import encode

_SQL = statements("app.trail")


class KeyInUse(msgspec.Struct, frozen=True):
    """What was asked under a key before, as JSON, and what was answered."""

    request: str
    status: int
    body: bytes


class OutboxEvent(msgspec.Struct, frozen=True):
    """Something that happened; `data` as a webhook will show it."""

    id: UUID
    type: str
    end_user_id: str | None
    data: msgspec.Struct
    created_at: datetime


async def claim_key(tx: Transaction, route: str, key: str, request: str, now: datetime) -> bool:
    """Take the key; False where it was used before.

    Waits while a twin holds it; raises LockTimeoutError when that takes too long.
    """
    statement = """
        INSERT INTO idempotency_keys (environment_id, route, key, request, created_at) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT DO NOTHING RETURNING true
    """
    return bool(await tx.connection.fetchval(statement, tx.environment, route, key, request, now))


async def read_key(tx: Transaction, route: str, key: str) -> KeyInUse | None:
    """What is remembered under the key."""
    statement = """
        SELECT request, status, body FROM idempotency_keys WHERE environment_id = $1 AND route = $2 AND key = $3
    """
    row = await tx.connection.fetchrow(statement, tx.environment, route, key)
    return None if row is None else KeyInUse(row["request"], row["status"], row["body"])


async def remember_answer(tx: Transaction, route: str, key: str, status: int, body: bytes) -> None:
    """Put the answer beside the key that this transaction has claimed."""
    statement = """
        UPDATE idempotency_keys SET status = $4, body = $5 WHERE environment_id = $1 AND route = $2 AND key = $3
    """
    await tx.connection.execute(statement, tx.environment, route, key, status, body)


async def insert_outbox(tx: Transaction, event: OutboxEvent) -> None:
    """Leave word of something that happened."""
    data = encode(event.data).decode()
    row = (tx.environment, event.id, event.type, event.end_user_id, data, event.created_at, tx.traceparent)
    await tx.connection.execute(_SQL["insert_outbox"], *row)


async def insert_announced(tx: Transaction, events: Sequence[tuple[UUID, OutboxEvent]]) -> None:
    """Leave word of what happened in each environment, in this order; of an id that is there the row stays."""
    if not events:
        return
    await tx.connection.execute(
        _SQL["insert_announced"],
        [environment_id for environment_id, _ in events],
        [event.id for _, event in events],
        [event.type for _, event in events],
        [event.end_user_id for _, event in events],
        [encode(event.data).decode() for _, event in events],
        [event.created_at for _, event in events],
    )
