"""Routes of credits, the ledger and usage: granting, and reading what was posted."""

from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

import msgspec
import structlog
from litestar import get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from app.errors import ServiceError, invalid_value
from app.io.clock import Clock
from app.io.postgres import Transaction
from app.io.redis import RedisStore, RedisUnavailable
from app.ledger import granting, reading
from app.ledger.reading import NEWEST, Figures, LiveBlock, UsageQuery
from app.ledger.schemas import (
    Bucket,
    CreditsBody,
    EventStatus,
    EventStatusBody,
    GrantBody,
    NewGrant,
    TransactionBody,
    UsageBody,
    UsageEventBody,
    show_credits,
    show_event,
    show_transaction,
    show_usage,
)
from app.ledger.service import GrantRequest
from app.rules.moments import NEVER_AT, to_at
from app.trail.idempotency import Mutation
from app.web.amounts import Credits
from app.web.bodies import ExactResponse
from app.web.fields import Moment
from app.web.paging import Cursor, Limit, Page, decode_cursor, page
from app.web.principal import SECURITY, needs
from app.web.reader import Reader
from app.wire.codes import Code
from app.wire.ids import MalformedId, parse, show
from app.wire.scopes import Scope

_log = structlog.get_logger(__name__)
READ = needs(Scope.ENTITLEMENTS_READ, Scope.CREDITS_WRITE)
WRITE = needs(Scope.CREDITS_WRITE)
READ_USAGE = needs(Scope.ENTITLEMENTS_READ, Scope.USAGE_WRITE)
DEFAULT_RANGE = timedelta(days=30)
"""How far back usage is shown where the query does not say from when."""


@post("/v1/credits/grants", guards=[WRITE], security=SECURITY, tags=["Credits"])
async def create_grant(
    data: JSONBody[NewGrant], mutation: NamedDependency[Mutation], redis: NamedDependency[RedisStore]
) -> ExactResponse[GrantBody]:
    """Add credit to a customer's account."""
    if data.amount.micro <= 0:
        raise invalid_value("amount", "must be greater than zero")
    if data.expires_at is not None and to_at(data.expires_at) >= NEVER_AT:
        raise invalid_value("expires_at", "is too far away; leave it out for credit that never expires")

    accepted_micro, is_known = await _accepted_so_far(redis, mutation.environment_id, data.end_user_id)

    async def work(tx: Transaction) -> GrantBody:
        figures = await reading.read_figures(tx, data.end_user_id)
        request = GrantRequest(
            amount_micro=data.amount.micro,
            source=data.source,
            priority=data.priority,
            effective_at=mutation.now,
            expires_at=data.expires_at,
            paid=data.source == "topup",
            actor=mutation.actor,
            idempotency_key=mutation.key,
        )
        granted = await granting.grant(tx, figures.account_id, data.end_user_id, request, mutation.now)
        return GrantBody(
            credit_block_id=show("blk", granted.block_id),
            end_user_id=data.end_user_id,
            amount=data.amount,
            balance=await _balance(tx, accepted_micro, data.end_user_id) if is_known else None,
            source=data.source,
            priority=data.priority,
            expires_at=data.expires_at,
            granted_at=mutation.now,
        )

    return await mutation.run(data, work)


async def _accepted_so_far(redis: RedisStore, environment_id: UUID, end_user_id: str) -> tuple[int | None, bool]:
    """(accepted, whether Redis answered): a grant stands without it, only its balance is then unknown."""
    try:
        return await reading.read_accepted(redis, environment_id, end_user_id), True
    except RedisUnavailable as error:
        _log.warning("balance_unknown", error=str(error))
        return None, False


async def _balance(tx: Transaction, accepted_micro: int | None, end_user_id: str) -> Credits:
    """What can be spent once this transaction has committed."""
    figures = await reading.read_figures(tx, end_user_id)
    return Credits(figures.total_micro - reading.pending_micro(accepted_micro, figures))


@get("/v1/customers/{end_user_id:str}/credits", guards=[READ], security=SECURITY, tags=["Credits"])
async def get_credits(
    end_user_id: FromPath[str],
    reader: NamedDependency[Reader],
    redis: NamedDependency[RedisStore],
    clock: NamedDependency[Clock],
) -> CreditsBody:
    """What a customer has, and in which blocks."""

    async def work(tx: Transaction) -> tuple[Figures, list[LiveBlock]]:
        figures = await reading.read_figures(tx, end_user_id)
        return figures, await reading.list_live_blocks(tx, figures.account_id)

    figures, blocks = await reader.run(work, isolation="repeatable_read")
    accepted_micro = await reading.read_accepted(redis, reader.environment_id, end_user_id)
    return show_credits(figures, reading.pending_micro(accepted_micro, figures), blocks, clock.now())


@get("/v1/customers/{end_user_id:str}/ledger", guards=[READ], security=SECURITY, tags=["Credits"])
async def list_ledger(
    end_user_id: FromPath[str], reader: NamedDependency[Reader], limit: Limit = 100, cursor: Cursor = None
) -> Page[TransactionBody]:
    """Everything that ever changed a customer's credit, newest first."""
    before = decode_cursor(cursor, int) or NEWEST

    async def work(tx: Transaction) -> Page[TransactionBody]:
        figures = await reading.read_figures(tx, end_user_id)
        rows = await reading.list_transactions(tx, figures.account_id, before, limit + 1)
        lines = await reading.list_lines(tx, figures.account_id, [row.seq for row in rows])
        return page(rows, limit, lambda row: show_transaction(row, lines[row.seq]), lambda row: row.seq)

    return await reader.run(work)


async def provide_usage_query(
    clock: NamedDependency[Clock],
    *,
    end_user_id: FromQuery[str | None] = None,
    feature_key: FromQuery[str | None] = None,
    start: Annotated[str | None, QueryParameter(name="from", description="Default: 30 days before `to`.")] = None,
    end: Annotated[str | None, QueryParameter(name="to", description="Default: now.")] = None,
    bucket: FromQuery[Bucket] = Bucket.TOTAL,
) -> UsageQuery:
    """What usage is asked for. Raises ServiceError(INVALID_VALUE) for what is no moment."""
    end_at = clock.now() if end is None else _moment("to", end)
    start_at = end_at - DEFAULT_RANGE if start is None else _moment("from", start)
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
    after = decode_cursor(cursor, tuple[datetime, str, str])

    async def work(tx: Transaction) -> Page[UsageBody]:
        rows = await reading.sum_usage(tx, asked, after, limit + 1)
        return page(rows, limit, show_usage, lambda row: (row.start_at, row.end_user_id, row.feature_key))

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
    before = decode_cursor(cursor, tuple[int, UUID])

    async def work(tx: Transaction) -> Page[UsageEventBody]:
        figures = await reading.read_figures(tx, end_user_id)
        rows = await reading.list_events(tx, figures, feature_key, before, limit + 1)
        return page(rows, limit, show_event, lambda row: (row.seq, row.id))

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


def _moment(name: str, text: str) -> datetime:
    try:
        return msgspec.convert(text, Moment).astimezone(UTC)
    except (msgspec.ValidationError, OverflowError) as error:
        raise invalid_value(name, "must be a moment such as 2026-01-31T00:00:00Z") from error


ROUTES = [create_grant, get_credits, list_ledger, sum_usage, list_events, get_event]
