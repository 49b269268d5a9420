"""What an order about a subscription would do now, by the very steps by which it is carried out. Changes nothing."""

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from app.errors import ServiceError
from app.io.postgres import Transaction
from app.orders.outcomes import Refused
from app.rules.effects import Granted, PeriodTurned
from app.subscriptions import store
from app.subscriptions.book import Customer, Happened, Kept
from app.subscriptions.fitting import Held, fitting
from app.subscriptions.reading import read_subscribers
from app.wire.codes import Code
from app.wire.orders import Act


class Previewed(msgspec.Struct, frozen=True):
    """What would happen, and how the subscription would stand then."""

    grants: list[Granted]
    """The credit that would come at once, as far as it fits."""
    kept: Kept
    at: int


async def preview(tx: Transaction, kept: Kept, order: Act, now: int, zone: str) -> Previewed | Refused:
    """What the order would do, once all that is due has happened."""
    account = await store.read_account(tx, kept.customer_id, now)
    if account is None:
        raise ServiceError(Code.UNKNOWN_CUSTOMER, "The customer has no account.")
    at = max(now, account.posted_at)  # nothing is locked: whoever only asks holds up nobody
    subscribers = await read_subscribers(tx, [], [(account, order)], zone)
    if order.variant_id is not None and order.variant_id not in subscribers.named.terms:
        raise ServiceError(Code.NOT_FOUND, "No plan variant has this id.")
    customer = subscribers.customers[account.id]
    due = list[Happened]()
    while customer.is_due(at):
        due += _counted(customer.advance())
    happened = customer.carry_out(order, subscribers.named, at)
    if isinstance(happened, Refused):
        return happened
    _, held = _fit(due, _with_what_is_aside(account.held, customer))
    return Previewed(_fit(_counted(happened), held)[0], customer.find(kept.id) or kept, at)


def _counted(happened: list[Happened]) -> list[Happened]:
    """The same. Where a period begins, counting does: whoever posts it notes that."""
    for each in happened:
        for effect in each.effects:
            if isinstance(effect, PeriodTurned):
                each.kept.counted_from = effect.period.start_at
    return happened


def _with_what_is_aside(held: Held, customer: Customer) -> Held:
    aside_micro = sum(block.remaining_micro for kept in customer.subscriptions for block in kept.set_aside)
    return replace(held, in_all_micro=held.in_all_micro + aside_micro)


def _fit(happened: Iterable[Happened], held: Held) -> tuple[list[Granted], Held]:
    """(the credit of it that fits, what is held then)."""
    grants: list[Granted] = []
    for effect in (effect for each in happened for effect in each.effects):
        if isinstance(effect, Granted) and (amount_micro := fitting(effect, held)):
            grants.append(replace(effect, amount_micro=amount_micro))
            held = held.plus(amount_micro)
    return grants, held
