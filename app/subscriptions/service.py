"""Subscribing customers to plans, and everything that clients do with subscriptions: as orders, or as previews."""

from datetime import datetime
from uuid import UUID

import msgspec

from app.customers import service as customers
from app.errors import ServiceError, invalid_value
from app.io.postgres import Database, Transaction
from app.ledger import service as ledger
from app.orders.outcomes import Refused
from app.orders.service import Orders, is_done
from app.plans import service as plans
from app.rules.lifecycle import Action
from app.rules.moments import NEVER_AT, to_at
from app.rules.subscriptions import Contract
from app.subscriptions import store
from app.subscriptions.book import Kept
from app.subscriptions.previewing import preview
from app.subscriptions.schemas import (
    ChangePreview,
    NewSubscription,
    SubscriptionBody,
    parse_variant_id,
    show_preview,
    show_subscription,
)
from app.trail.idempotency import Mutation
from app.wire.codes import Code
from app.wire.complaints import now_in_words
from app.wire.ids import MalformedId, derived_id, parse, show
from app.wire.orders import Act, Subscribe, SubscriptionOrder

MAX_YEARS_AHEAD = 10
DETAILS = {
    Code.SUBSCRIPTION_EXISTS: "The customer has a base subscription, or one that is to begin: see to that one first.",
    Code.PLAN_KIND_DIFFERS: "A subscription to a plan cannot become one to an add-on, nor the other way about.",
    Code.TOO_MANY_SUBSCRIPTIONS: "The customer has as many subscriptions as one may have; those that ended count too.",
    Code.NOT_FOUND: "No subscription has this id.",
}
WHY = {
    "not_prepaid": "Its periods are paid for afterwards: the next one begins by itself.",
    "period_not_begun": "The period that is to be renewed has not begun.",
    "paid_ahead": "Its next period is paid for as it is now: change it at the period's end, or now with a payment.",
    "over": "Its period is over, and the next one is waited for to be paid: renew it, or cancel.",
    "ends": "It ends with its period, so there is no next one; where it is to be canceled, take that back first.",
    "nothing_scheduled": "Neither a change nor a cancellation is scheduled; the end of a contract is none.",
    "no_terms": "No variant was named.",
    "already_renewed": "Its next period is paid for already, by another payment.",
    "already_followed": "That period is over, and was followed by the next one: name the present one, or none.",
    "already_scheduled": "It is to be changed so already, when its period ends.",
    "leaving": "It is not on that variant by then, so it is not moved to its newest version.",
    "from_free_plan": "It is on the free plan: subscribe to the other one, which takes its place.",
    "to_free_plan": "That is the free plan: cancel, and the customer falls back to it.",
    "same_terms": "It is on this version of the variant already.",
}
"""In words, what app/rules/actions.py refuses, and app/subscriptions/book.py, which knows of free plan and payments."""


_CALLS = {
    "change": 'change (with "at": "now")',
    "schedule_change": 'change (with "at": "period_end")',
    "unschedule": "taking back its scheduled-change",
    "cancel": 'cancel (with "at": "now")',
    "cancel_at_period_end": 'cancel (with "at": "period_end")',
}
"""How clients call what has another name here."""


_DID = {
    "create": "made the subscription",
    "renew": "renewed the subscription",
    "change": "changed the subscription",
    "schedule_change": "is for a change at the period's end of the subscription",
}
"""What a payment has done, by what the history calls it."""


class Doing(msgspec.Struct, frozen=True):
    """What is to be done with a subscription; the rest is of some actions only (app/wire/orders.py)."""

    action: Action
    reason: str | None = None
    variant_id: UUID | None = None
    only_upwards: bool = False
    period_index: int | None = None
    payment_reference: str | None = None


class Acted(msgspec.Struct, frozen=True):
    """A subscription that something was done with, and how it stood before; None where that is not known any more."""

    subscription_id: UUID
    before: SubscriptionBody | None = None


class Subscriptions:
    """Gives orders about subscriptions for core."""

    def __init__(self, database: Database, orders: Orders) -> None:
        self._database = database
        self._orders = orders

    async def subscribe(self, mutation: Mutation, new: NewSubscription) -> Acted:
        """Subscribe a customer, who is made where there is none.

        Raises ServiceError: NOT_FOUND for the variant, SUBSCRIPTION_EXISTS with the id of the other, INVALID_VALUE,
        PAYMENT_REFERENCE_USED.
        """
        variant_id = parse_variant_id(new.plan_variant_id)
        order_id = self._orders.id_of(mutation.environment_id, mutation.route, mutation.key)
        subscription_id = _id_of(new, mutation.environment_id, order_id)

        async def prepare(tx: Transaction) -> None:
            if new.starts_at is not None and not await _was_asked_for(tx, order_id, subscription_id):
                _check_start(new.starts_at, mutation.now)
            await plans.find_variant(tx, variant_id)
            customer = await customers.ensure_customer(tx, new.end_user_id, mutation.now)
            await ledger.ensure_account(tx, customer.id, customer.end_user_id, mutation.now)

        await self._database.run(mutation.environment_id, prepare)
        contract = None if new.contract is None else Contract(new.contract.periods, new.contract.auto_renew)
        order = Subscribe(
            order_id=order_id,
            actor=mutation.actor,
            reason=new.reason,
            idempotency_key=mutation.key,
            subscription_id=subscription_id,
            variant_id=variant_id,
            starts_at=None if new.starts_at is None else to_at(new.starts_at),
            with_trial=new.trial,
            contract=contract,
            payment_reference=new.payment_reference,
        )
        await self._give(mutation.environment_id, new.end_user_id, order)
        return Acted(order.subscription_id)

    async def act(self, mutation: Mutation, subscription_id: UUID, doing: Doing) -> Acted:
        """Do something with a subscription.

        Raises ServiceError: NOT_FOUND for it or the variant, ILLEGAL_MOVE, ACTION_REFUSED, PLAN_KIND_DIFFERS,
        PAYMENT_REFERENCE_USED.
        """
        order_id = self._orders.id_of(mutation.environment_id, mutation.route, mutation.key)

        async def find(tx: Transaction) -> tuple[str, SubscriptionBody | None]:
            end_user_id, kept = await find_subscription(tx, subscription_id)
            if doing.variant_id is not None:
                await plans.find_variant(tx, doing.variant_id)
            if await is_done(tx, order_id):  # asked after the subscription was read: so it was read before that
                return end_user_id, None
            return end_user_id, show_subscription(end_user_id, kept)

        end_user_id, before = await self._database.run(mutation.environment_id, find)
        order = Act(
            order_id=order_id,
            actor=mutation.actor,
            idempotency_key=mutation.key,
            subscription_id=subscription_id,
            **msgspec.structs.asdict(doing),
        )
        await self._give(mutation.environment_id, end_user_id, order)
        return Acted(subscription_id, before)

    async def _give(self, environment_id: UUID, end_user_id: str, order: SubscriptionOrder) -> None:
        done = await self._orders.give(environment_id, end_user_id, order)
        if done.code is not None:
            raise refusal(Refused(Code(done.code), context=done.context))


async def find_subscription(tx: Transaction, subscription_id: UUID) -> tuple[str, Kept]:
    """(end user id, subscription) of this id. Raises ServiceError(NOT_FOUND)."""
    found = await store.read_subscription(tx, subscription_id)
    if found is None:
        raise ServiceError(Code.NOT_FOUND, f"No subscription has the id {show('sub', subscription_id)}.")
    return found


async def preview_change(
    tx: Transaction, subscription_id: UUID, doing: Doing, now: datetime, zone: str
) -> ChangePreview:
    """What a change would do now. Raises ServiceError as the change does."""
    end_user_id, kept = await find_subscription(tx, subscription_id)
    asked = msgspec.structs.asdict(doing)
    order = Act(order_id=subscription_id, actor="preview", subscription_id=subscription_id, **asked)
    would = await preview(tx, kept, order, to_at(now), zone)
    if isinstance(would, Refused):
        raise refusal(would)
    return show_preview(end_user_id, would.grants, would.kept, would.at)


def parse_subscription_id(text: str) -> UUID:
    """The subscription that a path names. Raises ServiceError(NOT_FOUND)."""
    try:
        return parse("sub", text)
    except MalformedId as error:
        raise ServiceError(Code.NOT_FOUND, f"{text!r} is not the id of a subscription.") from error


def refusal(refused: Refused) -> ServiceError:
    """What a client is told of an order that was refused."""
    context = refused.context or {}
    match refused.code:
        case Code.ILLEGAL_MOVE:
            names: list[str] = [context["action"], *context["legal"]]
            asked, *legal = [_CALLS.get(name, name) for name in names]
            possible = ", ".join(legal) or "nothing more"
            detail = f"{asked} is not possible while it is {context['state']}; possible: {possible}."
        case Code.ACTION_REFUSED:
            detail = WHY[context["why"]]
        case Code.PAYMENT_REFERENCE_USED:
            used_for = context["used_for"]
            undone = ", which was taken back or has been replaced" if used_for["is_undone"] else ""
            did = f"{_DID[used_for['action']]} {used_for['subscription_id']}{undone}"
            detail = f"The payment reference {context['payment_reference']!r} {did}: send this payment's own."
        case code:
            detail = DETAILS[code]
    return ServiceError(refused.code, detail, context=context)


def _id_of(new: NewSubscription, environment_id: UUID, order_id: UUID) -> UUID:
    """What comes again for a payment is about the same subscription, under whatever idempotency key."""
    if new.payment_reference is None:
        return derived_id(b"subscription", order_id.hex.encode())
    of = environment_id.hex.encode(), new.end_user_id.encode(), new.payment_reference.encode()
    return derived_id(b"paid subscription", *of)


async def _was_asked_for(tx: Transaction, order_id: UUID, subscription_id: UUID) -> bool:
    """Whether what is asked for is done or refused already: then it was asked for in time."""
    return await is_done(tx, order_id) or await store.read_subscription(tx, subscription_id) is not None


def _check_start(starts_at: datetime, now: datetime) -> None:
    if not to_at(now) <= to_at(starts_at) < NEVER_AT or starts_at.year - now.year > MAX_YEARS_AHEAD:
        ahead = f"must not lie before {now_in_words(to_at(now))}, nor after the year {now.year + MAX_YEARS_AHEAD}"
        raise invalid_value("starts_at", f"{ahead}; leave it out to start now")
