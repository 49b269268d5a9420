"""Rows of subscriptions and of their history."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from itertools import zip_longest
from uuid import UUID

import msgspec

from app.io.postgres import Record, Transaction
from app.io.statements import statements
from app.ledger.book import PLAN
from app.rules.burndown import Block
from app.rules.lifecycle import State
from app.rules.moments import to_at, to_datetime
from app.rules.standstill import Course, Standstill
from app.rules.subscriptions import Subscription
from app.subscriptions.book import Customer, Kept, UsedSoFar
from app.subscriptions.fitting import Held
from app.subscriptions.history import Change
from app.subscriptions.payments import Paid

_SQL = statements("app.subscriptions")

_rules = msgspec.json.Decoder(Subscription)
_blocks = msgspec.json.Decoder(list[Block])
_used = msgspec.json.Decoder(list[UsedSoFar])


WITH_CREDIT_ASIDE = {State.PAUSED, State.OVERDUE}
"""Where credit of a subscription may wait outside of the balance."""


class Courses(msgspec.Struct, frozen=True):
    """Those of some subscriptions, by id, and the customers of whose credit something may be set aside."""

    courses: dict[UUID, Course]
    customers: set[UUID]


class AccountSeen(msgspec.Struct, frozen=True):
    """An account as far as a preview needs it."""

    environment_id: UUID
    id: UUID
    end_user_id: str
    posted_at: int
    held: Held
    """Without what pauses have set aside."""


async def read_account(tx: Transaction, account_id: UUID, now: int) -> AccountSeen | None:
    """One account, as it is at this moment."""
    row = await tx.connection.fetchrow(_SQL["read_account"], tx.environment, account_id, to_datetime(now), PLAN)
    if row is None:
        return None
    held = Held(row["of_plans_micro"], row["total_micro"] + row["reserved_micro"])
    return AccountSeen(row["environment_id"], row["id"], row["end_user_id"], to_at(row["posted_at"]), held)


async def read_of_customers(
    tx: Transaction, customers: Sequence[tuple[UUID, UUID]]
) -> dict[tuple[UUID, UUID], list[Kept]]:
    """All subscriptions of (environment, customer), in the order in which they were made."""
    found: dict[tuple[UUID, UUID], list[Kept]] = {customer: [] for customer in customers}
    asked = [customer[0] for customer in customers], [customer[1] for customer in customers]
    for row in await tx.connection.fetch(_SQL["read_of_customers"], *asked):
        found[row["environment_id"], row["customer_id"]].append(_kept(row))
    return found


async def read_courses(
    tx: Transaction, environment_ids: Collection[UUID], subscription_ids: Collection[UUID]
) -> Courses:
    """What became of the time of subscriptions, each in one of these environments."""
    rows = await tx.connection.fetch(_SQL["read_courses"], sorted(environment_ids), sorted(subscription_ids))
    courses = {row["id"]: _course(row) for row in rows}
    return Courses(courses, {row["customer_id"] for row in rows if State(row["state"]) in WITH_CREDIT_ASIDE})


def _course(row: Record) -> Course:
    lost_from_at = None if row["lost_from"] is None else to_at(row["lost_from"])
    return Course(_standstills([to_at(at) for at in row["turns"] or ()]), lost_from_at)


def _standstills(turns: Sequence[int]) -> tuple[Standstill, ...]:
    """From where each began and ended, one after the other."""
    return tuple(Standstill(since_at, until_at) for since_at, until_at in zip_longest(turns[::2], turns[1::2]))


async def write(tx: Transaction, customers: Iterable[Customer], now: datetime) -> None:
    """What has changed of customers' subscriptions; those that have ended first, so that they make place for others."""
    changed = [(customer.environment_id, kept) for customer in customers for kept in customer.changed.values()]
    for part in ([row for row in changed if row[1].is_terminal], [row for row in changed if not row[1].is_terminal]):
        if part:
            await tx.connection.execute(_SQL["upsert_subscriptions"], *_columns(part), now)


def _columns(rows: Sequence[tuple[UUID, Kept]]) -> tuple[list[object], ...]:
    subscriptions = [kept for _, kept in rows]
    rules = [kept.rules for kept in subscriptions]
    return (
        [environment_id for environment_id, _ in rows],
        [kept.id for kept in subscriptions],
        [kept.customer_id for kept in subscriptions],
        [each.terms.name.variant_id for each in rules],
        [each.terms.version_id for each in rules],
        [each.terms.name.plan_kind.value for each in rules],
        [each.state.value for each in rules],
        [to_datetime(each.anchor_at) for each in rules],
        [to_datetime(each.period.start_at) for each in rules],
        [to_datetime(each.period.end_at) for each in rules],
        [each.period_index for each in rules],
        [None if kept.counted_from is None else to_datetime(kept.counted_from) for kept in subscriptions],
        [kept.is_free for kept in subscriptions],
        [kept.trial_plan_id for kept in subscriptions],
        [msgspec.json.encode(kept.set_aside).decode() for kept in subscriptions],
        [msgspec.json.encode(kept.used_before).decode() for kept in subscriptions],
        [kept.changes for kept in subscriptions],
        [msgspec.json.encode(each).decode() for each in rules],
        [to_datetime(kept.created_at) for kept in subscriptions],
    )


async def insert_history(tx: Transaction, changes: Sequence[Change]) -> None:
    """Remember what became of subscriptions."""
    if not changes:
        return
    rows = [msgspec.structs.astuple(change) for change in changes]
    await tx.connection.execute(_SQL["insert_history"], *(list(column) for column in zip(*rows, strict=True)))


async def find_payments(tx: Transaction, payments: Sequence[tuple[UUID, str]]) -> dict[tuple[UUID, str], Paid]:
    """What (environment, payment reference) have paid for."""
    asked = [payment[0] for payment in payments], [payment[1] for payment in payments]
    rows = await tx.connection.fetch(_SQL["find_payments"], *asked)
    return {
        (row["environment_id"], row["payment_reference"]): Paid(
            row["subscription_id"], row["action"], row["variant_asked"], row["came"]
        )
        for row in rows
    }


async def read_subscription(tx: Transaction, subscription_id: UUID) -> tuple[str, Kept] | None:
    """(end user id, subscription) of this id."""
    row = await tx.connection.fetchrow(_SQL["read_subscription"], tx.environment, subscription_id)
    return None if row is None else (row["end_user_id"], _kept(row))


async def list_subscriptions(
    tx: Transaction, end_user_id: str | None, state: State | None, after: UUID | None, limit: int
) -> list[tuple[str, Kept]]:
    """(end user id, subscription) in the order in which they were made, after `after`; None narrows nothing."""
    if end_user_id is None:
        rows = await tx.connection.fetch(_SQL["list_subscriptions"], tx.environment, state, after, limit)
    else:
        asked = tx.environment, end_user_id, state, after, limit
        rows = await tx.connection.fetch(_SQL["list_of_customer"], *asked)
    return [(row["end_user_id"], _kept(row)) for row in rows]


async def list_to_migrate(tx: Transaction, variant_id: UUID, after: UUID | None, limit: int) -> list[tuple[str, Kept]]:
    """(end user id, subscription) of those on a variant that are not on its newest version, by id after `after`."""
    asked = tx.environment, variant_id, after or UUID(int=0), limit
    rows = await tx.connection.fetch(_SQL["list_to_migrate"], *asked)
    return [(row["end_user_id"], _kept(row)) for row in rows]


async def list_history(tx: Transaction, subscription_id: UUID, before: int | None, limit: int) -> list[Change]:
    """What became of a subscription, the newest first, before the number `before`."""
    asked = tx.environment, subscription_id, before, limit
    rows = await tx.connection.fetch(_SQL["list_history"], *asked)
    return [Change(*row) for row in rows]


def _kept(row: Record) -> Kept:
    return Kept(
        row["id"],
        row["customer_id"],
        _rules.decode(row["rules"]),
        to_at(row["created_at"]),
        row["is_free"],
        row["trial_plan_id"],
        None if row["counted_from"] is None else to_at(row["counted_from"]),
        _blocks.decode(row["set_aside"]),
        _used.decode(row["used_before"]),
        row["changes"],
    )
