"""Whose subscriptions a batch changes, by an order or because something of them is due."""

from collections.abc import Collection, Iterable, Sequence
from typing import Protocol
from uuid import UUID

from app.environments import service as environments
from app.io.postgres import Transaction
from app.plans import service as plans
from app.rules.burndown import Block
from app.rules.terms import SubscriptionTerms
from app.subscriptions import store
from app.subscriptions.book import Customer, Named, Subscribers
from app.subscriptions.store import Courses
from app.wire.orders import SubscriptionOrder


class Whose(Protocol):
    """Whose subscriptions they are; every account says so of itself."""

    @property
    def environment_id(self) -> UUID:
        """Where the customer belongs."""
        ...

    @property
    def id(self) -> UUID:
        """Of the customer, and of their account."""
        ...

    @property
    def end_user_id(self) -> str:
        """The tenant's name of the customer."""
        ...


Ordered = Sequence[tuple[Whose, SubscriptionOrder]]


async def read_subscribers(tx: Transaction, due: Iterable[Whose], ordered: Ordered, zone: str) -> Subscribers:
    """The subscriptions of accounts, which whoever writes holds locked, and what the orders about them speak of."""
    accounts: dict[UUID, Whose] = {each.id: each for each in [*due, *(account for account, _ in ordered)]}
    if not accounts:
        return Subscribers()
    kept = await store.read_of_customers(tx, [(account.environment_id, account.id) for account in accounts.values()])
    free = await _read_free(tx, {account.environment_id for account in accounts.values()})
    customers = {
        account.id: Customer(
            account.environment_id,
            account.id,
            account.end_user_id,
            zone,
            free.get(account.environment_id),
            kept[account.environment_id, account.id],
        )
        for account in accounts.values()
    }
    return Subscribers(customers, await _read_named(tx, ordered))


async def read_courses(tx: Transaction, whose: Iterable[Whose], blocks: Iterable[Block]) -> Courses:
    """What became of the time of subscriptions to which blocks are tied, each block of one of these accounts."""
    ties = [block.terms.tie for block in blocks if block.terms is not None and block.terms.tie is not None]
    tied = {tie.subscription_id for tie in ties if tie.is_moved}
    if not tied:
        return Courses({}, set())
    return await store.read_courses(tx, {each.environment_id for each in whose}, tied)


async def _read_named(tx: Transaction, ordered: Ordered) -> Named:
    variants: set[tuple[UUID, UUID]] = set()
    payments: set[tuple[UUID, str]] = set()
    for account, order in ordered:
        if order.variant_id is not None:
            variants.add((account.environment_id, order.variant_id))
        if order.payment_reference is not None:
            payments.add((account.environment_id, order.payment_reference))
    terms = await plans.read_newest_terms(tx, sorted(variants)) if variants else {}
    return Named(terms, await store.find_payments(tx, sorted(payments)) if payments else {})


async def _read_free(tx: Transaction, environment_ids: Collection[UUID]) -> dict[UUID, SubscriptionTerms]:
    """The terms of the free plans of environments that have one."""
    free = await environments.list_free_plans(tx, environment_ids)
    if not free:
        return {}
    terms = await plans.read_terms(tx, [(environment_id, plan.version_id) for environment_id, plan in free.items()])
    return {environment_id: terms[plan.version_id] for environment_id, plan in free.items()}
