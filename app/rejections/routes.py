"""Routes of what was rejected: listing it, and taking it in again."""

from datetime import datetime
from uuid import UUID

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from app.errors import ServiceError
from app.io.postgres import Database, Transaction
from app.io.redis import RedisStore
from app.ledger.schemas import EventStatus, EventStatusBody
from app.rejections import service, store
from app.rejections.schemas import RejectedEventBody, show_rejected
from app.rejections.service import Retrying
from app.trail import audit
from app.trail.idempotency import Mutation, NoBody
from app.web.bodies import ExactResponse
from app.web.paging import Cursor, Limit, Listing, Page
from app.web.principal import SECURITY, needs
from app.web.reader import Reader
from app.wire.codes import Code
from app.wire.ids import MalformedId, parse
from app.wire.scopes import Scope

READ = needs(Scope.ENTITLEMENTS_READ, Scope.USAGE_WRITE)
WRITE = needs(Scope.USAGE_WRITE)
_REJECTED = Listing("rejected usage", tuple[datetime, UUID])
_ACCEPTED = 202


@get("/v1/usage/rejected", guards=[READ], security=SECURITY, tags=["Usage"])
async def list_rejected(
    reader: NamedDependency[Reader],
    end_user_id: FromQuery[str | None] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[RejectedEventBody]:
    """Usage that was accepted and could not be posted, the latest first, of one customer or of all."""
    before = _REJECTED.decode(cursor)

    async def work(tx: Transaction) -> Page[RejectedEventBody]:
        rows = await store.list_rejected(tx, end_user_id, before, limit + 1)
        return _REJECTED.page(rows, limit, show_rejected, lambda row: (row.recorded_at, row.id))

    return await reader.run(work)


async def provide_retrying(
    mutation: NamedDependency[Mutation],
    database: NamedDependency[Database],
    redis: NamedDependency[RedisStore],
    stream_max_entries: NamedDependency[int],
) -> Retrying:
    """What a retry reaches."""
    return Retrying(database, redis, mutation.environment_id, stream_max_entries, mutation.asked_at)


@post(
    "/v1/usage/rejected/{event_id:str}/retry",
    guards=[WRITE],
    security=SECURITY,
    tags=["Usage"],
    status_code=_ACCEPTED,
    dependencies={"retrying": provide_retrying},
)
async def retry_rejected(
    event_id: FromPath[str],
    mutation: NamedDependency[Mutation],
    reader: NamedDependency[Reader],
    retrying: NamedDependency[Retrying],
) -> ExactResponse[EventStatusBody]:
    """Take a rejected event in again, at the cost and the moment that it had, once its reason is gone."""

    async def append() -> tuple[UUID, str | None, EventStatus]:
        wanted = _parse(event_id)
        row = await reader.run(lambda tx: store.read_rejected(tx, wanted))
        if row is not None and retrying.allows(row):
            await service.append_again(retrying, row)
            return wanted, row.stream_id, EventStatus.PENDING
        if row is not None and row.is_posted and row.retried_at is None:
            # By a retry that was cut short before it was noted, or because the event was sent again.
            return wanted, row.stream_id, EventStatus.POSTED
        return wanted, None, EventStatus.REJECTED

    async def answer(tx: Transaction, appended: tuple[UUID, str | None, EventStatus]) -> EventStatusBody:
        audit.changed(tx, "usage_event", event_id)
        wanted, stream_id, status = appended
        rejected = await service.note_retry(tx, retrying, wanted, stream_id)
        if rejected is None:
            return EventStatusBody(event_id, status)
        return EventStatusBody(event_id, EventStatus.REJECTED, code=rejected.code, detail=rejected.detail)

    return await mutation.run_outside(NoBody(), append, answer, status=_ACCEPTED)


def _parse(text: str) -> UUID:
    try:
        return parse("evt", text)
    except MalformedId as error:
        raise ServiceError(Code.NOT_FOUND, f"{text!r} is not the id of an event.") from error


ROUTES = [list_rejected, retry_rejected]
