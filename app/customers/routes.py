"""Routes of customers."""

from collections.abc import Awaitable, Callable
from uuid import UUID

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from app.customers import service, store
from app.customers.schemas import CustomerBody, NewCustomer, show_customer
from app.io.postgres import Transaction
from app.trail import audit
from app.trail.idempotency import Mutation
from app.web.bodies import ExactResponse
from app.web.paging import Cursor, Limit, Listing, Page
from app.web.principal import SECURITY, needs
from app.web.reader import Reader
from app.wire.scopes import Scope

READ = needs(Scope.ENTITLEMENTS_READ, Scope.SUBSCRIPTIONS_WRITE, Scope.CREDITS_WRITE)
WRITE = needs(Scope.SUBSCRIPTIONS_WRITE)
_CUSTOMERS = Listing("customers", UUID)
_CREATED = 201


Enroll = Callable[[UUID, str], Awaitable[bool]]
"""Puts (environment, end user) on the free plan, where the environment wants that."""


@post("/v1/customers", guards=[WRITE], security=SECURITY, tags=["Customers"])
async def create_customer(
    data: JSONBody[NewCustomer], mutation: NamedDependency[Mutation], enroll: NamedDependency[Enroll]
) -> ExactResponse[CustomerBody]:
    """Make a customer. Not needed before `POST /v1/subscriptions`, which makes them as they come.

    Where the environment enrols whom it sees first, the customer is on its free plan by the answer.
    """

    async def work(tx: Transaction) -> CustomerBody:
        audit.changed(tx, "customer", data.end_user_id)
        return show_customer(await service.create_customer(tx, data.end_user_id, mutation.now))

    made = await mutation.run(data, work)
    if made.status_code == _CREATED:  # a replay too: the first time may have ended in between
        await enroll(mutation.environment_id, data.end_user_id)
    return made


@get("/v1/customers", guards=[READ], security=SECURITY, tags=["Customers"])
async def list_customers(
    reader: NamedDependency[Reader], limit: Limit = 100, cursor: Cursor = None
) -> Page[CustomerBody]:
    """Customers in the order in which they were made."""
    after = _CUSTOMERS.decode(cursor)

    async def work(tx: Transaction) -> Page[CustomerBody]:
        rows = await store.list_customers(tx, after, limit + 1)
        return _CUSTOMERS.page(rows, limit, show_customer, lambda customer: customer.id)

    return await reader.run(work)


@get("/v1/customers/{end_user_id:str}", guards=[READ], security=SECURITY, tags=["Customers"])
async def get_customer(end_user_id: FromPath[str], reader: NamedDependency[Reader]) -> CustomerBody:
    """One customer."""

    async def work(tx: Transaction) -> CustomerBody:
        return show_customer(await service.find_customer(tx, end_user_id))

    return await reader.run(work)


ROUTES = [create_customer, list_customers, get_customer]
