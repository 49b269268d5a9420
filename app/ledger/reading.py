"""Reading the ledger for those who ask: totals, blocks, history, usage. Nothing here writes."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import structlog

from app.errors import ServiceError
from app.io.postgres import Transaction
from app.io.redis import RedisStore, RedisUnavailable, StreamEnd
from app.io.reservations import is_committed
from app.io.statements import statements
from app.ledger import store
from app.ledger.store import PartitionCursor
from app.rules import totals
from app.wire import keys
from app.wire.codes import Code

_SQL = statements("app.ledger")
_log: Any = structlog.get_logger(__name__)
MAX_BLOCKS = 1000
"""Blocks of an account that are shown; the totals count all."""
NEWEST = 2**63 - 1
_ACCEPTED = b"+"


class Figures(msgspec.Struct, frozen=True):
    """An account's totals as the ledger has them."""

    account_id: UUID
    end_user_id: str
    total_micro: int
    debt_micro: int
    applied_micro: int
    posted_at: datetime
    reserved_micro: int
    """Of all open reservations; the total is without it."""


class LiveBlock(msgspec.Struct, frozen=True):
    """A block with credit left."""

    id: UUID
    source: str
    granted_micro: int
    remaining_micro: int
    priority: int
    paid: bool
    effective_at: datetime
    expires_at: datetime | None
    granted_at: datetime
    metadata: str | None
    price_paid: int | None
    currency: str | None
    external_reference: str | None
    is_scheduled: bool


class Moment(msgspec.Struct, frozen=True):
    """An account's total at a moment, and the transaction that made it; seq 0 = before the first."""

    seq: int
    total_micro: int
    posted_at: datetime | None


class TransactionRow(msgspec.Struct, frozen=True):
    """A transaction of an account."""

    id: UUID
    seq: int
    kind: str
    actor: str
    reason: str | None
    idempotency_key: str | None
    total_before_micro: int
    total_after_micro: int
    posted_at: datetime
    recorded_at: datetime


class UsageQuery(msgspec.Struct, frozen=True):
    """What usage is asked for, in [start_at, end_at); None does not narrow it."""

    end_user_id: str | None
    feature_key: str | None
    start_at: datetime
    end_at: datetime
    bucket: str
    """hour | day | total."""


class UsageSum(msgspec.Struct, frozen=True):
    """Usage of one customer and feature in one bucket of time."""

    start_at: datetime
    end_user_id: str
    feature_key: str
    units_micro: Decimal
    """A whole number: Postgres' sums outgrow 64 bits."""
    cost_micro: Decimal
    events: int


class EventRow(msgspec.Struct, frozen=True):
    """A usage event as it was posted."""

    id: UUID
    end_user_id: str
    feature_key: str
    units_micro: int
    cost_micro: int
    debt_micro: int
    idempotency_key: str | None
    properties: str | None
    occurred_at: datetime
    accepted_at: datetime
    recorded_at: datetime
    seq: int
    voided_at: datetime | None


class Rejection(msgspec.Struct, frozen=True):
    """Why an event could not be posted; `is_retried` where it is under way again."""

    code: str
    detail: str
    is_retried: bool


def split_range(start_at: datetime, end_at: datetime) -> tuple[datetime, datetime]:
    """[start, end) as part of an hour, whole hours, part of an hour: where the whole hours (UTC) begin and end.

    Where there are none, both are `end_at`, and the first part is everything. Moments are in UTC.
    """
    first, end = _hour_of(start_at), _hour_of(end_at)
    if first < start_at and first < end:
        first += timedelta(hours=1)
    return (first, end) if start_at <= first < end else (end_at, end_at)


def end_of_hour(moment: datetime) -> datetime:
    """When the next hour begins: up to there everything that is posted by now has been added up. `moment` is in UTC."""
    return _hour_of(moment) + timedelta(hours=1)


def _hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


async def read_figures(tx: Transaction, end_user_id: str) -> Figures:
    """The customer's totals. Raises ServiceError(UNKNOWN_CUSTOMER)."""
    row = await tx.connection.fetchrow(_SQL["read_figures"], tx.environment, end_user_id)
    if row is None:
        raise ServiceError(Code.UNKNOWN_CUSTOMER, f"No customer has the end_user_id {end_user_id!r}.")
    return Figures(*row)


async def list_live_blocks(tx: Transaction, account_id: UUID) -> list[LiveBlock]:
    """Blocks with credit left, in the order in which they are spent."""
    rows = await tx.connection.fetch(_SQL["list_live_blocks"], tx.environment, account_id, MAX_BLOCKS)
    return [LiveBlock(*row) for row in rows]


async def read_held(tx: Transaction, account_id: UUID, source: str, at: datetime) -> int:
    """Micro-credits that remain at a moment of all blocks of a source: what counts to a cap."""
    return await tx.connection.fetchval(_SQL["read_held"], tx.environment, account_id, source, at)


async def read_total_at(tx: Transaction, account_id: UUID, at: datetime | None) -> Moment:
    """The account's total after everything that was posted at or before a moment; None = after everything."""
    row = await tx.connection.fetchrow(_SQL["read_total_at"], tx.environment, account_id, at)
    return Moment(0, 0, None) if row is None else Moment(*row)


class SoFar(msgspec.Struct, frozen=True):
    """What Redis knew of an account at a moment; with both None, nothing: it did not answer."""

    accepted_micro: int | None
    """What the edge had accepted, wrapped; None where the account was not loaded."""
    partition: int = 0
    stream_end: StreamEnd | None = None
    """Where it was not loaded: usage of it may have been in its stream, up to here."""


async def read_so_far(redis: RedisStore, environment_id: UUID, end_user_id: str) -> SoFar:
    """What the edge has accepted of the account by now. Raises RedisUnavailable.

    Never asked inside a transaction: Redis may take its time.
    """
    view = await redis.read_account(environment_id, end_user_id)
    if view is not None:
        return SoFar(view.accepted_micro)
    partition = redis.partition(keys.account_ref(keys.environment_ref(environment_id), end_user_id))
    return SoFar(None, partition, await redis.read_stream_end(partition))


async def read_if_it_answers(redis: RedisStore, environment_id: UUID, end_user_id: str) -> SoFar:
    """As `read_so_far`, for who can do without: what is granted stands, only the balance after it is unknown."""
    try:
        return await read_so_far(redis, environment_id, end_user_id)
    except RedisUnavailable as error:
        _log.warning("balance_unknown", error=str(error))
        return SoFar(None)


async def balance_after(tx: Transaction, so_far: SoFar, end_user_id: str) -> int | None:
    """What can be spent once this transaction has committed, in micro-credits; None where that is not known."""
    cursor = await store.read_cursor(tx, so_far.partition)  # first: what it has passed, the figures have
    figures = await read_figures(tx, end_user_id)
    pending = pending_micro(so_far, figures, cursor)
    return None if pending is None else figures.total_micro - pending


def pending_micro(so_far: SoFar, figures: Figures, cursor: PartitionCursor) -> int | None:
    """Cost of what was accepted and not applied; None where that is not known: some may be in the stream.

    Where `so_far` was read before the figures, total - pending is the balance of that earlier moment.
    """
    if so_far.accepted_micro is not None:
        return totals.distance(so_far.accepted_micro, totals.wrap(figures.applied_micro))
    return 0 if so_far.stream_end is not None and cursor.has_passed(so_far.stream_end) else None


async def list_transactions(tx: Transaction, account_id: UUID, before: int, limit: int) -> list[TransactionRow]:
    """Transactions of an account, newest first, below the number `before`."""
    rows = await tx.connection.fetch(_SQL["list_transactions"], tx.environment, account_id, before, limit)
    return [TransactionRow(*row) for row in rows]


async def list_lines(tx: Transaction, account_id: UUID, seqs: Sequence[int]) -> dict[int, list[tuple[str, int]]]:
    """(account name, signed micro-credits) of the transactions with these numbers."""
    lines: dict[int, list[tuple[str, int]]] = {seq: [] for seq in seqs}
    for seq, name, amount_micro in await tx.connection.fetch(_SQL["list_lines"], tx.environment, account_id, seqs):
        lines[seq].append((name, amount_micro))
    return lines


async def sum_usage(
    tx: Transaction, query: UsageQuery, after: tuple[datetime, str, str] | None, limit: int
) -> list[UsageSum]:
    """Usage by bucket, customer and feature, after (start, end user, feature)."""
    # What is asked for decides which index serves: a plan for every question would read the whole environment.
    await tx.connection.execute(_SQL["plan_each"])
    rows = await tx.connection.fetch(
        _SQL["sum_usage"],
        tx.environment,
        query.end_user_id,
        query.feature_key,
        query.start_at,
        *split_range(query.start_at, query.end_at),
        query.end_at,
        query.bucket,
        *(after or (None, None, None)),
        limit,
    )
    return [UsageSum(*row) for row in rows]


async def list_events(
    tx: Transaction, figures: Figures, feature_key: str | None, before: tuple[int, UUID] | None, limit: int
) -> list[EventRow]:
    """Usage events of an account, newest first, below (seq, id)."""
    seq, event_id = before or (None, None)
    account = (tx.environment, figures.account_id)
    rows = await tx.connection.fetch(
        _SQL["list_events"], *account, feature_key, seq, event_id, figures.end_user_id, limit
    )
    return [EventRow(*row) for row in rows]


async def read_event(tx: Transaction, event_id: UUID) -> EventRow | None:
    """A posted event; None where the ledger has none of this id."""
    row = await tx.connection.fetchrow(_SQL["read_event"], tx.environment, event_id)
    return None if row is None else EventRow(*row)


async def read_rejection(tx: Transaction, event_id: UUID) -> Rejection | None:
    """Why an event could not be posted; None where none of this id was rejected."""
    row = await tx.connection.fetchrow(_SQL["read_rejected"], tx.environment, event_id)
    return None if row is None else Rejection(*row)


async def is_pending(redis: RedisStore, environment_id: UUID, event_id: UUID) -> bool:
    """Whether the edge remembers having accepted the event, or the commit that it is. Raises RedisUnavailable."""
    stored = await redis.read_seen(environment_id, event_id)
    if stored is not None and stored[1 + stored[0] :].startswith(_ACCEPTED):
        return True
    return await is_committed(redis, environment_id, event_id)
