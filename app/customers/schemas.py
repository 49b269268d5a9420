"""Bodies of the customer routes."""

from datetime import datetime

import msgspec

from app.customers.tables import Customer
from app.web.fields import EndUserId
from app.wire.ids import show


class NewCustomer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A customer to be made."""

    end_user_id: EndUserId


class CustomerBody(msgspec.Struct, frozen=True):
    """A customer."""

    customer_id: str
    end_user_id: str
    created_at: datetime


def show_customer(customer: Customer) -> CustomerBody:
    """The customer as the API shows it."""
    return CustomerBody(show("cus", customer.id), customer.end_user_id, customer.created_at)
