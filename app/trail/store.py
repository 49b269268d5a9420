"""Rows of the trail."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from app.io.postgres import Transaction
from app.io.statements import statements
from app.io.tracing import current_traceparent
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


class AuditRow(msgspec.Struct, frozen=True):
    """A mutation that took effect; `request`, `before` and `after` are JSON."""

    id: UUID
    at: datetime
    actor: str
    request_id: str
    route: str
    status: int
    subject_kind: str | None
    subject_id: str | None
    request: str
    before: str | None
    after: str | None
    reason: str | None
    idempotency_key: str | None


async def claim_key(tx: Transaction, route: str, key: str, request: str, now: datetime) -> KeyInUse | None:
    """Take the key; what it was used for where it was used before. Without an environment it is an operator's.

    Waits while a twin holds it; raises LockTimeoutError when that takes too long.
    """
    if tx.environment_id is None:
        row = await tx.connection.fetchrow(_SQL["claim_operator_key"], route, key, request, now)
        return None if row is None else KeyInUse(*row)
    earlier = None
    while earlier is None:  # jobs may have forgotten it between the two statements: then it is free
        if await tx.connection.fetchval(_SQL["insert_key"], tx.environment, route, key, request, now):
            return None
        earlier = await read_key(tx, route, key)
    return earlier


async def read_key(tx: Transaction, route: str, key: str) -> KeyInUse | None:
    """What is remembered under the key."""
    row = await tx.connection.fetchrow(_SQL["read_key"], tx.environment, route, key)
    return None if row is None else KeyInUse(*row)


async def remember_answer(tx: Transaction, route: str, key: str, status: int, body: bytes) -> None:
    """Put the answer beside the key that this transaction has claimed."""
    if tx.environment_id is None:
        await tx.connection.execute(_SQL["remember_operator_answer"], route, key, status, body)
        return
    await tx.connection.execute(_SQL["update_key"], tx.environment, route, key, status, body, tx.touches_ledger)


async def delete_old_keys(tx: Transaction, *, used_before: datetime, limit: int) -> int:
    """Forget some of the keys that were used before that, of environments and of operators; the larger number of both.

    What touched the ledger stays.
    """
    statuses = [
        await tx.connection.execute(_SQL[name], used_before, limit)
        for name in ("delete_old_keys", "delete_old_operator_keys")
    ]
    return max(int(status.rpartition(" ")[2]) for status in statuses)


async def insert_audit(tx: Transaction, environment_id: UUID, row: AuditRow) -> None:
    """Write what took effect. An operator's transaction enters the environment that it is about."""
    if tx.environment_id is None:
        await tx.enter(environment_id)
    await tx.connection.execute(_SQL["insert_audit"], environment_id, *msgspec.structs.astuple(row))


async def list_audit(
    tx: Transaction, ids: tuple[UUID, UUID], narrowing: Sequence[object], limit: int
) -> list[AuditRow]:
    """Rows with ids in [first, last), the newest first.

    `narrowing` is (from, to, actor, kind and id of the subject), None = not by that.
    """
    # What is asked for decides which index serves.
    await tx.connection.execute(_SQL["plan_each"])
    rows = await tx.connection.fetch(_SQL["list_audit"], tx.environment, *ids, *narrowing, limit)
    return [AuditRow(*row) for row in rows]


async def insert_outbox(tx: Transaction, event: OutboxEvent) -> None:
    """Leave word of something that happened."""
    data = encode(event.data).decode()
    row = (tx.environment, event.id, event.type, event.end_user_id, data, event.created_at, current_traceparent())
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
