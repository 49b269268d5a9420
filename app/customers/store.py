"""Rows of customers."""
# Piccolo does not say what its foreign keys point at.
# pyright: reportUnknownMemberType=false

from uuid import UUID

from app.customers.tables import Customer
from app.io.postgres import Transaction


async def insert_customer(customer: Customer) -> bool:
    """Add the customer; False where there is one with this end user id."""
    unique = (Customer.environment_id, Customer.end_user_id)
    added = await Customer.insert(customer).on_conflict(target=unique, action="DO NOTHING").returning(Customer.id)
    return bool(added)


async def read_customer(tx: Transaction, end_user_id: str) -> Customer | None:
    """The customer with this end user id."""
    owned = Customer.environment_id == tx.environment
    return await Customer.objects().where(owned, Customer.end_user_id == end_user_id).first()


async def list_customers(tx: Transaction, after: UUID | None, limit: int) -> list[Customer]:
    """Customers in the order in which they were made, after the one with the id `after`."""
    query = Customer.objects().where(Customer.environment_id == tx.environment)
    if after is not None:
        query = query.where(Customer.id > after)
    return await query.order_by(Customer.id).limit(limit)
