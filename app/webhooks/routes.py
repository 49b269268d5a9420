"""Routes of webhook endpoints, of what is sent to them, and of the feed of events."""

from typing import Annotated
from uuid import UUID

from litestar import delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from app.io.postgres import Transaction
from app.trail.idempotency import Mutation, NoBody
from app.trail.outbox import EventType
from app.web.bodies import ExactResponse
from app.web.paging import Cursor, Limit, Listing, Page
from app.web.principal import SECURITY, Principal, needs
from app.web.reader import Reader
from app.webhooks import endpoint_store, service
from app.webhooks.deciding import State
from app.webhooks.endpoint_store import DeliveryFilter, DeliveryRow
from app.webhooks.filtering import ENDPOINT_PREFIX
from app.webhooks.schemas import (
    DeliveryBody,
    EndpointBody,
    EndpointChange,
    EndpointWithSecret,
    EventPage,
    NewEndpoint,
    NewReplay,
    ReplayBody,
    Rotation,
    TestBody,
    parse_delivery,
    parse_endpoint,
    parse_field,
    show_delivery,
    show_endpoint,
    show_event,
)
from app.webhooks.sending import EVENT_PREFIX
from app.webhooks.service import Caller, Installation
from app.wire.scopes import Scope

WRITE = needs(Scope.WEBHOOKS_WRITE)
READ_EVENTS = needs(Scope.ENTITLEMENTS_READ, Scope.WEBHOOKS_WRITE)
_ENDPOINT_PAGES = Listing("webhook endpoints", UUID)
_DELIVERY_PAGES = Listing("webhook deliveries", UUID)
_FEED = Listing("events", int)
_ENDPOINTS = "/v1/webhook-endpoints"
_ENDPOINT = f"{_ENDPOINTS}/{{webhook_endpoint_id:str}}"
_DELIVERIES = "/v1/webhook-deliveries"
_TAGS = ["Webhooks"]
_OK = 200
_ACCEPTED = 202
MAX_POSITION = 2**62
FewerLimit = Annotated[int, QueryParameter(ge=1, le=100, description="Most items of the page.")]
"""Fewer than of other lists: each has up to twenty attempts with it, and each of those what was answered."""


def provide_caller(
    mutation: NamedDependency[Mutation],
    principal: NamedDependency[Principal],
    webhooks: NamedDependency[Installation],
) -> Caller:
    """Who changes endpoints."""
    return Caller(webhooks, principal.environment_kind, mutation.asked_at)


@post(_ENDPOINTS, guards=[WRITE], security=SECURITY, tags=_TAGS)
async def create_endpoint(
    data: JSONBody[NewEndpoint], mutation: NamedDependency[Mutation], caller: NamedDependency[Caller]
) -> ExactResponse[EndpointWithSecret]:
    """Make an endpoint. It hears of what happens from now on.

    The secret is shown once. A replay of the request answers null in its place: rotate it then.
    """

    async def work(tx: Transaction) -> EndpointWithSecret:
        return await service.create_endpoint(tx, caller, data)

    return await mutation.run(data, work)


@get(_ENDPOINTS, guards=[WRITE], security=SECURITY, tags=_TAGS)
async def list_endpoints(
    reader: NamedDependency[Reader], limit: Limit = 100, cursor: Cursor = None
) -> Page[EndpointBody]:
    """Endpoints in the order in which they were made."""
    after = _ENDPOINT_PAGES.decode(cursor)

    async def work(tx: Transaction) -> Page[EndpointBody]:
        rows = await endpoint_store.list_endpoints(tx, after, limit + 1)
        return _ENDPOINT_PAGES.page(rows, limit, show_endpoint, lambda row: row.id)

    return await reader.run(work)


@get(_ENDPOINT, guards=[WRITE], security=SECURITY, tags=_TAGS)
async def get_endpoint(webhook_endpoint_id: FromPath[str], reader: NamedDependency[Reader]) -> EndpointBody:
    """One endpoint, without its secret."""
    wanted = parse_endpoint(webhook_endpoint_id)

    async def work(tx: Transaction) -> EndpointBody:
        return show_endpoint(await service.find_endpoint(tx, wanted))

    return await reader.run(work)


@patch(_ENDPOINT, guards=[WRITE], security=SECURITY, tags=_TAGS)
async def change_endpoint(
    webhook_endpoint_id: FromPath[str],
    data: JSONBody[EndpointChange],
    mutation: NamedDependency[Mutation],
    caller: NamedDependency[Caller],
) -> ExactResponse[EndpointBody]:
    """Change an endpoint. While it is disabled what happens waits, for 30 days; enabled again it gets all of that."""
    wanted = parse_endpoint(webhook_endpoint_id)

    async def work(tx: Transaction) -> EndpointBody:
        return await service.change_endpoint(tx, caller, wanted, data)

    return await mutation.run(data, work, status=_OK)


@delete(_ENDPOINT, guards=[WRITE], security=SECURITY, tags=_TAGS, status_code=_OK)
async def delete_endpoint(
    webhook_endpoint_id: FromPath[str], mutation: NamedDependency[Mutation]
) -> ExactResponse[EndpointBody]:
    """Delete an endpoint, and with it what waits for it."""
    wanted = parse_endpoint(webhook_endpoint_id)

    async def work(tx: Transaction) -> EndpointBody:
        return await service.delete_endpoint(tx, wanted, mutation.asked_at)

    return await mutation.run(NoBody(), work, status=_OK)


@post(f"{_ENDPOINT}/rotate-secret", guards=[WRITE], security=SECURITY, tags=_TAGS, status_code=_OK)
async def rotate_secret(
    webhook_endpoint_id: FromPath[str],
    data: JSONBody[Rotation],
    mutation: NamedDependency[Mutation],
    caller: NamedDependency[Caller],
) -> ExactResponse[EndpointWithSecret]:
    """Give an endpoint a new secret, which is shown once. Until the overlap ends both sign each event.

    A secret before the two is void at once.
    """
    wanted = parse_endpoint(webhook_endpoint_id)

    async def work(tx: Transaction) -> EndpointWithSecret:
        return await service.rotate_secret(tx, caller, wanted, data.overlap_seconds)

    return await mutation.run(data, work, status=_OK)


@post(f"{_ENDPOINT}/test", guards=[WRITE], security=SECURITY, tags=_TAGS, status_code=_ACCEPTED)
async def test_endpoint(
    webhook_endpoint_id: FromPath[str], mutation: NamedDependency[Mutation]
) -> ExactResponse[TestBody]:
    """Send an event `webhook.test` to this endpoint alone, whatever it wants to hear of."""
    wanted = parse_endpoint(webhook_endpoint_id)

    async def work(tx: Transaction) -> TestBody:
        return await service.test_endpoint(tx, wanted, mutation.asked_at)

    return await mutation.run(NoBody(), work, status=_ACCEPTED)


async def provide_asked(
    endpoint_id: FromQuery[str | None] = None,
    delivery_state: Annotated[State | None, QueryParameter(name="state")] = None,
    event_id: FromQuery[str | None] = None,
    end_user_id: FromQuery[str | None] = None,
) -> DeliveryFilter:
    """Which deliveries are asked for."""
    return DeliveryFilter(
        None if endpoint_id is None else parse_field("endpoint_id", ENDPOINT_PREFIX, endpoint_id),
        delivery_state,
        None if event_id is None else parse_field("event_id", EVENT_PREFIX, event_id),
        end_user_id,
    )


@get(_DELIVERIES, guards=[WRITE], security=SECURITY, tags=_TAGS, dependencies={"asked": provide_asked})
async def list_deliveries(
    reader: NamedDependency[Reader],
    asked: NamedDependency[DeliveryFilter],
    limit: FewerLimit = 50,
    cursor: Cursor = None,
) -> Page[DeliveryBody]:
    """What was sent to endpoints or waits for them, the newest first, with what was answered. Kept for 30 days."""
    before = _DELIVERY_PAGES.decode(cursor)

    async def work(tx: Transaction) -> Page[DeliveryBody]:
        rows = await endpoint_store.list_deliveries(tx, asked, before, limit + 1)
        attempts = await endpoint_store.list_attempts(tx, [row.id for row in rows[:limit]])

        def show_with_attempts(row: DeliveryRow) -> DeliveryBody:
            return show_delivery(row, attempts.get(row.id, []))

        return _DELIVERY_PAGES.page(rows, limit, show_with_attempts, lambda row: row.id)

    return await reader.run(work)


@post(
    f"{_DELIVERIES}/{{webhook_delivery_id:str}}/retry",
    guards=[WRITE],
    security=SECURITY,
    tags=_TAGS,
    status_code=_ACCEPTED,
)
async def retry_delivery(
    webhook_delivery_id: FromPath[str], mutation: NamedDependency[Mutation]
) -> ExactResponse[DeliveryBody]:
    """Send an event once more, under the same id: one that is parked or was delivered, with a new schedule.

    One that is pending is tried at once, as soon as it is the first of its queue.
    """
    wanted = parse_delivery(webhook_delivery_id)

    async def work(tx: Transaction) -> DeliveryBody:
        row = await service.retry(tx, wanted, mutation.asked_at)
        attempts = await endpoint_store.list_attempts(tx, [row.id])
        return show_delivery(row, attempts.get(row.id, []))

    return await mutation.run(NoBody(), work, status=_ACCEPTED)


@post(f"{_DELIVERIES}/replay", guards=[WRITE], security=SECURITY, tags=_TAGS, status_code=_ACCEPTED)
async def replay_deliveries(
    data: JSONBody[NewReplay], mutation: NamedDependency[Mutation]
) -> ExactResponse[ReplayBody]:
    """Send an endpoint certain events once more, or what was told in a time, whether it heard of it or not.

    Each keeps its id. A time is queued step by step, in the order of the feed.
    """

    async def work(tx: Transaction) -> ReplayBody:
        return await service.replay(tx, data, mutation.asked_at)

    return await mutation.run(data, work, status=_ACCEPTED)


@get("/v1/events", guards=[READ_EVENTS], security=SECURITY, tags=_TAGS)
async def list_events(
    reader: NamedDependency[Reader],
    event_type: Annotated[EventType | None, QueryParameter(name="type", description="Of this type only.")] = None,
    end_user_id: FromQuery[str | None] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> EventPage:
    """What happened, in an order that never changes: what webhooks tell, to be asked for. Kept for 30 days.

    `next_cursor` is always there. Ask with it again later, and you get what has come since.
    """
    after = min(_FEED.decode(cursor) or 0, MAX_POSITION)

    async def work(tx: Transaction) -> EventPage:
        found = await service.read_feed(tx, after, event_type, end_user_id, limit)
        events = [show_event(event) for event in found.events]
        return EventPage(events, _FEED.encode(found.position), found.has_more)

    return await reader.run(work)


ROUTES = [
    *(create_endpoint, list_endpoints, get_endpoint, change_endpoint, delete_endpoint, rotate_secret, test_endpoint),
    *(list_deliveries, retry_delivery, replay_deliveries, list_events),
]
