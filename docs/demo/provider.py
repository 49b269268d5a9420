"""Pretends to be your payment provider: it shows a page, takes no money, and tells the app of the payment.

As the real ones do it tells at least once, and sometimes again.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import uuid4

import msgspec

MAX_PAYMENTS: Final = 1_000
"""That are remembered; the oldest is forgotten first."""


class Payment(msgspec.Struct):
    """Who is to pay how much for what. `told` counts how often the app has been told that they did."""

    reference: str
    customer: str
    item: str
    name: str
    price_cents: int
    currency: str
    told: int = 0


class Provider:
    """All payments. `on_payment` is where the app wants to be told: a webhook, had it another process behind it."""

    def __init__(self, on_payment: Callable[[Payment], Awaitable[Any]]) -> None:
        self._on_payment = on_payment
        self._payments: OrderedDict[str, Payment] = OrderedDict()

    def ask(self, customer: str, item: str, name: str, price_cents: int, currency: str) -> Payment:
        """A payment that is to be made."""
        payment = Payment(f"pay_{uuid4().hex[:12]}", customer, item, name, price_cents, currency)
        self._payments[payment.reference] = payment
        if len(self._payments) > MAX_PAYMENTS:
            self._payments.popitem(last=False)
        return payment

    def find(self, reference: str) -> Payment | None:
        """The payment with this reference."""
        return self._payments.get(reference)

    async def confirm(self, payment: Payment) -> Any:  # noqa: ANN401 - whatever the app answers
        """The customer has paid: tell the app, and answer what it says."""
        payment.told += 1
        return await self._on_payment(payment)
