"""Routes of subscriptions."""

from uuid import UUID
from zoneinfo import ZoneInfo

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody

from app.errors import ServiceError
from app.io.postgres import Transaction
from app.subscriptions import service, store
from app.subscriptions.schemas import NewSubscription, SubscriptionBody, show_subscription
from app.subscriptions.service import Occasion
from app.trail.idempotency import Mutation
from app.web.bodies import ExactResponse
from app.web.paging import Cursor, Limit, Page, decode_cursor, page
from app.web.principal import SECURITY, needs
from app.web.reader import Reader
from app.wire.codes import Code
from app.wire.ids import MalformedId, parse
from app.wire.scopes import Scope

READ = needs(Scope.ENTITLEMENTS_READ, Scope.SUBSCRIPTIONS_WRITE)
WRITE = needs(Scope.SUBSCRIPTIONS_WRITE)


@post("/v1/subscriptions", guards=[WRITE], security=SECURITY, tags=["Subscriptions"])
async def create_subscription(
    data: JSONBody[NewSubscription], mutation: NamedDependency[Mutation], billing_zone: NamedDependency[ZoneInfo]
) -> ExactResponse[SubscriptionBody]:
    """Subscribe a customer to a plan variant, from now on. The customer is made where there is none."""
    occasion = Occasion(mutation.now, billing_zone, mutation.actor, mutation.key)

    async def work(tx: Transaction) -> SubscriptionBody:
        return await service.create_subscription(tx, data, occasion)

    return await mutation.run(data, work)


@get("/v1/subscriptions", guards=[READ], security=SECURITY, tags=["Subscriptions"])
async def list_subscriptions(
    reader: NamedDependency[Reader],
    end_user_id: FromQuery[str | None] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[SubscriptionBody]:
    """Subscriptions in the order in which they were made, of one customer or of all."""
    after = decode_cursor(cursor, UUID)

    async def work(tx: Transaction) -> Page[SubscriptionBody]:
        rows = await store.list_subscriptions(tx, end_user_id, after, limit + 1)
        return page(rows, limit, show_subscription, lambda row: row.id)

    return await reader.run(work)


@get("/v1/subscriptions/{subscription_id:str}", guards=[READ], security=SECURITY, tags=["Subscriptions"])
async def get_subscription(subscription_id: FromPath[str], reader: NamedDependency[Reader]) -> SubscriptionBody:
    """One subscription."""
    try:
        wanted = parse("sub", subscription_id)
    except MalformedId as error:
        raise ServiceError(Code.NOT_FOUND, f"{subscription_id!r} is not the id of a subscription.") from error

    async def work(tx: Transaction) -> SubscriptionBody:
        return show_subscription(await service.find_subscription(tx, wanted))

    return await reader.run(work)


ROUTES = [create_subscription, list_subscriptions, get_subscription]
