"""Making and finding customers."""

from datetime import datetime

from app.customers import store
from app.customers.schemas import show_customer
from app.customers.tables import Customer
from app.errors import ServiceError
from app.io.ids import new_id
from app.io.postgres import Transaction
from app.trail import dirty, outbox
from app.trail.outbox import EventType
from app.wire.codes import Code


async def create_customer(tx: Transaction, end_user_id: str, now: datetime) -> Customer:
    """A new customer. Raises ServiceError(CONFLICT) where there is one with this end user id."""
    customer = await _insert(tx, end_user_id, now)
    if customer is None:
        raise ServiceError(Code.CONFLICT, f"There is a customer with the end_user_id {end_user_id!r} already.")
    return customer


async def ensure_customer(tx: Transaction, end_user_id: str, now: datetime) -> Customer:
    """The customer with this end user id, made where there is none."""
    found = await store.read_customer(tx, end_user_id) or await _insert(tx, end_user_id, now)
    # Made by someone else between the two statements: the insert has waited for that.
    return found or await find_customer(tx, end_user_id)


async def find_customer(tx: Transaction, end_user_id: str) -> Customer:
    """The customer with this end user id. Raises ServiceError(UNKNOWN_CUSTOMER)."""
    customer = await store.read_customer(tx, end_user_id)
    if customer is None:
        raise ServiceError(Code.UNKNOWN_CUSTOMER, f"No customer has the end_user_id {end_user_id!r}.")
    return customer


async def _insert(tx: Transaction, end_user_id: str, now: datetime) -> Customer | None:
    customer = Customer(environment_id=tx.environment, id=new_id(now), end_user_id=end_user_id, created_at=now)
    if not await store.insert_customer(customer):
        return None
    dirty.mark(tx, customer.id)
    await outbox.leave(tx, EventType.CUSTOMER_CREATED, end_user_id, show_customer(customer), now)
    return customer
