"""Rows of what was rejected."""

from datetime import datetime
from uuid import UUID

import msgspec

from app.io.postgres import Transaction
from app.io.statements import statements
from app.ledger.schemas import EventStatus
from app.wire.events import StreamEntry, usage_of

_SQL = statements("app.rejections")


class RejectedRow(msgspec.Struct, frozen=True):
    """An entry that could not be posted, and what became of it since."""

    id: UUID
    end_user_id: str
    stream_id: str
    code: str
    detail: str
    entry: bytes
    """As the flusher read it: MessagePack of a StreamEntry or an UnreadableEntry."""
    recorded_at: datetime
    retried_at: datetime | None
    is_posted: bool

    @property
    def status(self) -> EventStatus:
        """Posted by whichever way, under way again, or neither."""
        if self.is_posted:
            return EventStatus.POSTED
        return EventStatus.REJECTED if self.retried_at is None else EventStatus.PENDING

    @property
    def usage(self) -> StreamEntry | None:
        """The entry where it holds a usage event; None where it could not be read, or was no usage."""
        return usage_of(self.entry)

    @property
    def is_priced(self) -> bool:
        """Whether it holds an event that can be posted at the cost that it had."""
        return self.usage is not None and self.usage.payload is not None


async def list_rejected(
    tx: Transaction, end_user_id: str | None, before: tuple[datetime, UUID] | None, limit: int
) -> list[RejectedRow]:
    """What was rejected, the latest first, below (recorded, id)."""
    recorded_at, event_id = before or (None, None)
    rows = await tx.connection.fetch(_SQL["list_rejected"], tx.environment, end_user_id, recorded_at, event_id, limit)
    return [RejectedRow(*row) for row in rows]


async def read_rejected(tx: Transaction, event_id: UUID) -> RejectedRow | None:
    """One of them; None where no event of this id was rejected."""
    row = await tx.connection.fetchrow(_SQL["read_rejected"], tx.environment, event_id)
    return None if row is None else RejectedRow(*row)


async def mark_retried(tx: Transaction, event_id: UUID, stream_id: str, now: datetime, forgotten: datetime) -> bool:
    """Note that this entry was taken in again; False where it has been since `forgotten`, or another took its place."""
    statement = _SQL["mark_retried"]
    return bool(await tx.connection.fetchval(statement, tx.environment, event_id, stream_id, now, forgotten))
