"""Routes of credits, the ledger and usage: granting, and reading what was posted."""

from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from litestar import get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from app.errors import ServiceError
from app.io.clock import Clock
from app.io.pauses import pauses
from app.io.postgres import Transaction
from app.io.redis import RedisStore
from app.ledger import explaining, granting, reading, store
from app.ledger.reading import NEWEST, Figures, LiveBlock, UsageQuery
from app.ledger.schemas import (
    BalanceBody,
    Bucket,
    CreditsBody,
    EventStatus,
    EventStatusBody,
    ExplanationBody,
    GrantBody,
    GrantState,
    NewGrant,
    TransactionBody,
    UsageBody,
    UsageEventBody,
    read_notes,
    read_rollover,
    show_credits,
    show_event,
    show_explanation,
    show_transaction,
    show_usage,
)
from app.ledger.service import GrantRequest
from app.ledger.store import PartitionCursor
from app.trail.idempotency import Mutation
from app.web.amounts import Credits, amount_or_none, optional_micro, read_credits
from app.web.bodies import ExactResponse
from app.web.fields import read_moment, require_span
from app.web.paging import Cursor, Limit, Listing, Page
from app.web.principal import SECURITY, needs
from app.web.reader import Reader
from app.wire import keys
from app.wire.codes import Code
from app.wire.ids import MalformedId, parse, show
from app.wire.scopes import Scope

READ = needs(Scope.ENTITLEMENTS_READ, Scope.CREDITS_WRITE)
WRITE = needs(Scope.CREDITS_WRITE)
READ_USAGE = needs(Scope.ENTITLEMENTS_READ, Scope.USAGE_WRITE)
_LEDGER = Listing("ledger", int)
_USAGE = Listing("usage", tuple[datetime, str, str])
_EVENTS = Listing("usage events", tuple[int, UUID])
DEFAULT_RANGE = timedelta(days=30)
_EARLIEST = datetime.min.replace(tzinfo=UTC)
"""How far back usage is shown where the query does not say from when."""
SETTLE_SECONDS = 1.0
"""How long the flusher is waited for where what is pending is not known without it."""


@post("/v1/credits/grants", guards=[WRITE], security=SECURITY, tags=["Credits"])
async def create_grant(
    data: JSONBody[NewGrant], mutation: NamedDependency[Mutation], redis: NamedDependency[RedisStore]
) -> ExactResponse[GrantBody]:
    """Add credit to a customer's account."""
    request = GrantRequest(
        amount_micro=data.amount.micro,
        source=data.source,
        priority=data.priority,
        effective_at=data.effective_at or mutation.now,
        expires_at=data.expires_at,
        paid=data.source == "topup" or bool(data.price_paid),
        actor=mutation.actor,
        reason=data.reason,
        idempotency_key=mutation.key,
        notes=read_notes(data),
        cap_micro=optional_micro(data.accumulation_cap),
        rollover=read_rollover(data),
    )
    so_far = await reading.read_if_it_answers(redis, mutation.environment_id, data.end_user_id)

    async def work(tx: Transaction) -> GrantBody:
        figures = await reading.read_figures(tx, data.end_user_id)
        granted = await granting.grant(tx, figures.account_id, data.end_user_id, request, mutation.now)
        return GrantBody(
            credit_block_id=show("blk", granted.block_id),
            end_user_id=data.end_user_id,
            amount=data.amount,
            balance=amount_or_none(Credits, await reading.balance_after(tx, so_far, data.end_user_id)),
            source=data.source,
            priority=data.priority,
            paid=request.paid,
            effective_at=request.effective_at,
            expires_at=data.expires_at,
            granted_at=mutation.now,
            reason=data.reason,
            metadata=data.metadata,
            price_paid=data.price_paid,
            currency=data.currency,
            external_reference=data.external_reference,
            state=GrantState.SCHEDULED if granted.transaction_id is None else GrantState.GRANTED,
        )

    return await mutation.run(data, work)


@get("/v1/customers/{end_user_id:str}/credits", guards=[READ], security=SECURITY, tags=["Credits"])
async def get_credits(
    end_user_id: FromPath[str],
    reader: NamedDependency[Reader],
    redis: NamedDependency[RedisStore],
    clock: NamedDependency[Clock],
) -> CreditsBody:
    """What a customer has, and in which blocks."""
    figures, blocks, pending_micro = await _read_credit(reader, redis, end_user_id)
    return show_credits(figures, pending_micro, blocks, clock.now())


@get("/v1/customers/{end_user_id:str}/credits/explain", guards=[READ], security=SECURITY, tags=["Credits"])
async def explain_credits(
    end_user_id: FromPath[str],
    amount: Annotated[str, QueryParameter(description="Credits, at most six decimals; 0 shows the order alone.")],
    reader: NamedDependency[Reader],
    redis: NamedDependency[RedisStore],
    clock: NamedDependency[Clock],
) -> ExplanationBody:
    """Which credit blocks an amount would be drawn from if it were spent now, and why in this order.

    Nothing is spent. Usage that is pending, and open debt, are drawn before it.
    """
    amount_micro = read_credits("amount", amount).micro
    figures, blocks, pending_micro = await _read_credit(reader, redis, end_user_id)
    if pending_micro is None:
        raise ServiceError(Code.ACCOUNT_LOADING, "Usage of this customer may still have to be posted. Try again.")
    now = clock.now()
    explained = explaining.explain(figures, blocks, pending_micro, amount_micro, now)
    return show_explanation(figures, pending_micro, amount_micro, explained, now)


async def _read_credit(
    reader: Reader, redis: RedisStore, end_user_id: str
) -> tuple[Figures, list[LiveBlock], int | None]:
    """The ledger's totals and blocks of one moment, and what was pending (micro-credits) right after it.

    Of an account that is not loaded that is known once its stream is posted, which is waited for; None = not by then.
    """
    partition = redis.partition(keys.account_ref(keys.environment_ref(reader.environment_id), end_user_id))

    async def work(tx: Transaction) -> tuple[Figures, list[LiveBlock], PartitionCursor]:
        figures = await reading.read_figures(tx, end_user_id)
        blocks = await reading.list_live_blocks(tx, figures.account_id)
        return figures, blocks, await store.read_cursor(tx, partition)

    figures, blocks, cursor = await reader.run(work, isolation="repeatable_read")
    so_far = await reading.read_so_far(redis, reader.environment_id, end_user_id)
    async for _ in pauses(SETTLE_SECONDS):
        pending_micro = reading.pending_micro(so_far, figures, cursor)
        if pending_micro is not None:
            return figures, blocks, pending_micro
        figures, blocks, cursor = await reader.run(work, isolation="repeatable_read")
    return figures, blocks, None


@get("/v1/customers/{end_user_id:str}/balance", guards=[READ], security=SECURITY, tags=["Credits"])
async def get_balance(
    end_user_id: FromPath[str],
    reader: NamedDependency[Reader],
    clock: NamedDependency[Clock],
    at: Annotated[str | None, QueryParameter(description="Default: now. A moment in the future means now.")] = None,
) -> BalanceBody:
    """What the ledger's total was at a moment, from its entries.

    Entries are dated when what they post happened. Of a moment that has just passed, some may still have to be posted.
    """
    now = clock.now()
    asked_at = None if at is None else read_moment("at", at)
    is_past = asked_at is not None and asked_at < now

    async def work(tx: Transaction) -> BalanceBody:
        figures = await reading.read_figures(tx, end_user_id)
        found = await reading.read_total_at(tx, figures.account_id, asked_at if is_past else None)
        return BalanceBody(
            end_user_id=end_user_id,
            at=asked_at if is_past and asked_at is not None else now,
            total=Credits(found.total_micro),
            seq=found.seq,
            posted_at=found.posted_at,
        )

    return await reader.run(work)


@get("/v1/customers/{end_user_id:str}/ledger", guards=[READ], security=SECURITY, tags=["Credits"])
async def list_ledger(
    end_user_id: FromPath[str], reader: NamedDependency[Reader], limit: Limit = 100, cursor: Cursor = None
) -> Page[TransactionBody]:
    """Everything that ever changed a customer's credit, newest first."""
    before = _LEDGER.decode(cursor) or NEWEST

    async def work(tx: Transaction) -> Page[TransactionBody]:
        figures = await reading.read_figures(tx, end_user_id)
        rows = await reading.list_transactions(tx, figures.account_id, before, limit + 1)
        lines = await reading.list_lines(tx, figures.account_id, [row.seq for row in rows])
        return _LEDGER.page(rows, limit, lambda row: show_transaction(row, lines[row.seq]), lambda row: row.seq)

    return await reader.run(work)


async def provide_usage_query(
    clock: NamedDependency[Clock],
    *,
    end_user_id: FromQuery[str | None] = None,
    feature_key: FromQuery[str | None] = None,
    start: Annotated[str | None, QueryParameter(name="from", description="Default: 30 days before `to`.")] = None,
    end: Annotated[str | None, QueryParameter(name="to", description="Default: the end of this hour.")] = None,
    bucket: FromQuery[Bucket] = Bucket.TOTAL,
) -> UsageQuery:
    """What usage is asked for. Raises ServiceError(INVALID_VALUE) for what is no moment, and where nothing can lie."""
    end_at = reading.end_of_hour(clock.now()) if end is None else read_moment("to", end)
    start_at = end_at - min(DEFAULT_RANGE, end_at - _EARLIEST) if start is None else read_moment("from", start)
    require_span(start_at, end_at)
    return UsageQuery(end_user_id, feature_key, start_at, end_at, bucket.value)


@get(
    "/v1/usage",
    guards=[READ_USAGE],
    security=SECURITY,
    tags=["Usage"],
    dependencies={"asked": Provide(provide_usage_query)},
)
async def sum_usage(
    reader: NamedDependency[Reader], asked: NamedDependency[UsageQuery], limit: Limit = 100, cursor: Cursor = None
) -> Page[UsageBody]:
    """Posted usage by customer and feature, from `from` up to and without `to`, by UTC hour or day or in total."""
    after = _USAGE.decode(cursor)

    async def work(tx: Transaction) -> Page[UsageBody]:
        rows = await reading.sum_usage(tx, asked, after, limit + 1)
        return _USAGE.page(rows, limit, show_usage, lambda row: (row.start_at, row.end_user_id, row.feature_key))

    return await reader.run(work)


@get("/v1/usage/events", guards=[READ_USAGE], security=SECURITY, tags=["Usage"])
async def list_events(
    end_user_id: FromQuery[str],
    reader: NamedDependency[Reader],
    feature_key: FromQuery[str | None] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[UsageEventBody]:
    """Posted usage events of a customer, newest first."""
    before = _EVENTS.decode(cursor)

    async def work(tx: Transaction) -> Page[UsageEventBody]:
        figures = await reading.read_figures(tx, end_user_id)
        rows = await reading.list_events(tx, figures, feature_key, before, limit + 1)
        return _EVENTS.page(rows, limit, show_event, lambda row: (row.seq, row.id))

    return await reader.run(work)


@get("/v1/usage/events/{event_id:str}", guards=[READ_USAGE], security=SECURITY, tags=["Usage"])
async def get_event(
    event_id: FromPath[str], reader: NamedDependency[Reader], redis: NamedDependency[RedisStore]
) -> EventStatusBody:
    """What became of an event that was answered with 202."""
    try:
        wanted = parse("evt", event_id)
    except MalformedId as error:
        raise ServiceError(Code.NOT_FOUND, f"{event_id!r} is not the id of an event.") from error

    async def work(tx: Transaction) -> EventStatusBody | None:
        row = await reading.read_event(tx, wanted)
        if row is not None:
            return EventStatusBody(event_id, EventStatus.POSTED, event=show_event(row))
        rejection = await reading.read_rejection(tx, wanted)
        if rejection is None:
            return None
        if rejection.is_retried:
            return EventStatusBody(event_id, EventStatus.PENDING)
        return EventStatusBody(event_id, EventStatus.REJECTED, code=rejection.code, detail=rejection.detail)

    # Asked before the ledger: an event that is posted in between is then found there.
    pending = await reading.is_pending(redis, reader.environment_id, wanted)
    if status := await reader.run(work):
        return status
    if not pending:
        raise ServiceError(Code.NOT_FOUND, f"No event with the id {event_id} was accepted.")
    return EventStatusBody(event_id, EventStatus.PENDING)


ROUTES = [
    create_grant,
    get_credits,
    explain_credits,
    get_balance,
    list_ledger,
    sum_usage,
    list_events,
    get_event,
]
