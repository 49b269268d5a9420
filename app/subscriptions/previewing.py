"""What an order about a subscription would do now, by the very steps by which it is carried out. Changes nothing."""

import msgspec
from msgspec.structs import replace

from app.errors import ServiceError
from app.io.postgres import Transaction
from app.ledger import reading
from app.ledger.book import PLAN
from app.orders.outcomes import Refused
from app.rules.burndown import granted_under_cap
from app.rules.effects import Granted
from app.rules.moments import to_datetime
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
    grants: list[Granted]
    """The credit that would come at once, as far as it fits under its caps."""


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
        customer.advance()
    happened = customer.carry_out(order, subscribers.named, at)
    if isinstance(happened, Refused):
        return happened
    granted = [effect for each in happened for effect in each.effects if isinstance(effect, Granted)]
    held_micro = await reading.read_held(tx, account.id, PLAN, to_datetime(at))
    return Previewed(happened, customer.find(kept.id) or kept, at, _fitting(granted, held_micro))


def _fitting(granted: list[Granted], held_micro: int) -> list[Granted]:
    """What of grants fits under their caps, one after the other."""
    fitting: list[Granted] = []
    for grant in granted:
        amount_micro = granted_under_cap(grant.amount_micro, held_micro, grant.template.cap_micro)
        held_micro += amount_micro
        if amount_micro:
            fitting.append(replace(grant, amount_micro=amount_micro))
    return fitting
