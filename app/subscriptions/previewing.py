"""What an order about a subscription would do now, by the very steps by which it is carried out. Changes nothing."""

import msgspec

from app.errors import ServiceError
from app.io.postgres import Transaction
from app.orders.outcomes import Refused
from app.rules.effects import Granted, PeriodTurned
from app.subscriptions import store
from app.subscriptions.book import Happened, Kept
from app.subscriptions.reading import read_subscribers
from app.wire.codes import Code
from app.wire.orders import Act


class Previewed(msgspec.Struct, frozen=True):
    """What would happen, and how the subscription would stand then."""

    happened: list[Happened]
    kept: Kept
    at: int

    @property
    def grants(self) -> list[Granted]:
        """The credit that would come at once."""
        return [effect for each in self.happened for effect in each.effects if isinstance(effect, Granted)]


async def preview(tx: Transaction, kept: Kept, order: Act, now: int, zone: str) -> Previewed | Refused:
    """What the order would do, once all that is due has happened."""
    account = await store.read_account(tx, kept.customer_id)
    if account is None:
        raise ServiceError(Code.UNKNOWN_CUSTOMER, "The customer has no account.")
    at = max(now, account.posted_at)  # nothing is locked: whoever only asks holds up nobody
    subscribers = await read_subscribers(tx, [], [(account, order)], zone)
    if order.variant_id is not None and order.variant_id not in subscribers.named.terms:
        raise ServiceError(Code.NOT_FOUND, "No plan variant has this id.")
    customer = subscribers.customers[account.id]
    while customer.is_due(at):
        _count(customer.advance())
    happened = customer.carry_out(order, subscribers.named, at)
    if isinstance(happened, Refused):
        return happened
    _count(happened)
    return Previewed(happened, customer.find(kept.id) or kept, at)


def _count(happened: list[Happened]) -> None:
    """Where a period begins, counting does: whoever posts it notes the same."""
    for each in happened:
        for effect in each.effects:
            if isinstance(effect, PeriodTurned):
                each.kept.counted_from = effect.period.start_at
