"""Routes of subscriptions."""

from collections.abc import Awaitable
from typing import Annotated
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from litestar import delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from app.errors import ServiceError
from app.io.clock import Clock
from app.io.postgres import Transaction
from app.plans import service as plans
from app.rules.lifecycle import Action, State
from app.subscriptions import service, store
from app.subscriptions.migrating import Migration, MigrationBody, Migrator
from app.subscriptions.schemas import (
    Cancellation,
    ChangeBody,
    ChangePreview,
    ChangeTerms,
    Motive,
    NewSubscription,
    Renewal,
    SubscriptionBody,
    When,
    parse_variant_id,
    show_change,
    show_subscription,
    versions_of,
)
from app.subscriptions.service import Doing, Subscriptions, find_subscription, parse_subscription_id
from app.trail.idempotency import STORED_REFUSALS, Mutation
from app.web.bodies import ExactResponse
from app.web.paging import Cursor, Limit, Page, decode_cursor, page
from app.web.principal import SECURITY, needs
from app.web.problems import status_of
from app.web.reader import Reader
from app.wire.scopes import Scope

READ = needs(Scope.ENTITLEMENTS_READ, Scope.SUBSCRIPTIONS_WRITE)
WRITE = needs(Scope.SUBSCRIPTIONS_WRITE)
_ONE = "/v1/subscriptions/{subscription_id:str}"
_OK = 200
_CREATED = 201
_CHANGES = {
    None: (Action.CHANGE, True),
    When.NOW: (Action.CHANGE, False),
    When.PERIOD_END: (Action.SCHEDULE_CHANGE, False),
}
"""By when a change is to take place: the action, and whether it is put off where it gives less."""
_CANCELLATIONS = {When.NOW: Action.CANCEL, When.PERIOD_END: Action.CANCEL_AT_PERIOD_END}


class Nothing(msgspec.Struct, frozen=True):
    """A request that says all in its path."""


@post("/v1/subscriptions", guards=[WRITE], security=SECURITY, tags=["Subscriptions"])
async def create_subscription(
    data: JSONBody[NewSubscription],
    mutation: NamedDependency[Mutation],
    subscriptions: NamedDependency[Subscriptions],
) -> ExactResponse[SubscriptionBody]:
    """Subscribe a customer to a plan variant, from now on or later. The customer is made where there is none.

    Edges know of it before the answer. While a customer is on the environment's free plan, this takes its place.
    """
    if (answered := await mutation.answered(data)) is not None:
        return answered
    return await _answer(mutation, data, subscriptions.subscribe(mutation, data), status=_CREATED)


@post(f"{_ONE}/renew", guards=[WRITE], security=SECURITY, tags=["Subscriptions"], status_code=_OK)
async def renew_subscription(
    data: JSONBody[Renewal],
    subscription_id: FromPath[str],
    mutation: NamedDependency[Mutation],
    subscriptions: NamedDependency[Subscriptions],
) -> ExactResponse[SubscriptionBody]:
    """Say that the next period of a prepaid subscription is paid for. What is overdue goes on at once."""
    renewal = Doing(Action.RENEW, data.reason, period_index=data.period_index, payment_reference=data.payment_reference)
    return await _act(mutation, subscriptions, data, subscription_id, renewal)


@post(f"{_ONE}/change", guards=[WRITE], security=SECURITY, tags=["Subscriptions"], status_code=_OK)
async def change_subscription(
    data: JSONBody[ChangeTerms],
    subscription_id: FromPath[str],
    mutation: NamedDependency[Mutation],
    subscriptions: NamedDependency[Subscriptions],
) -> ExactResponse[SubscriptionBody]:
    """Move a subscription to the newest version of a variant: at once, or when its period ends."""
    return await _act(mutation, subscriptions, data, subscription_id, _change(data))


def _change(data: ChangeTerms) -> Doing:
    action, only_upwards = _CHANGES[data.at]
    return Doing(
        action,
        data.reason,
        parse_variant_id(data.plan_variant_id),
        only_upwards=only_upwards,
        payment_reference=data.payment_reference,
    )


@post(f"{_ONE}/change/preview", guards=[READ], security=SECURITY, tags=["Subscriptions"], status_code=_OK)
async def preview_change(
    data: JSONBody[ChangeTerms],
    subscription_id: FromPath[str],
    reader: NamedDependency[Reader],
    clock: NamedDependency[Clock],
    billing_zone: NamedDependency[ZoneInfo],
) -> ChangePreview:
    """What a change would do now, by the very steps by which it is done. Nothing changes."""
    wanted, doing = parse_subscription_id(subscription_id), _change(data)

    async def work(tx: Transaction) -> ChangePreview:
        return await service.preview_change(tx, wanted, doing, clock.now(), billing_zone.key)

    return await reader.run(work)


@post(f"{_ONE}/pause", guards=[WRITE], security=SECURITY, tags=["Subscriptions"], status_code=_OK)
async def pause_subscription(
    data: JSONBody[Motive],
    subscription_id: FromPath[str],
    mutation: NamedDependency[Mutation],
    subscriptions: NamedDependency[Subscriptions],
) -> ExactResponse[SubscriptionBody]:
    """Let the time of a subscription stand still, and that of its credit."""
    return await _act(mutation, subscriptions, data, subscription_id, Doing(Action.PAUSE, data.reason))


@post(f"{_ONE}/resume", guards=[WRITE], security=SECURITY, tags=["Subscriptions"], status_code=_OK)
async def resume_subscription(
    data: JSONBody[Motive],
    subscription_id: FromPath[str],
    mutation: NamedDependency[Mutation],
    subscriptions: NamedDependency[Subscriptions],
) -> ExactResponse[SubscriptionBody]:
    """Let a paused subscription go on with the time that it had left."""
    return await _act(mutation, subscriptions, data, subscription_id, Doing(Action.RESUME, data.reason))


@post(f"{_ONE}/cancel", guards=[WRITE], security=SECURITY, tags=["Subscriptions"], status_code=_OK)
async def cancel_subscription(
    data: JSONBody[Cancellation],
    subscription_id: FromPath[str],
    mutation: NamedDependency[Mutation],
    subscriptions: NamedDependency[Subscriptions],
) -> ExactResponse[SubscriptionBody]:
    """End a subscription when its period ends, or at once. The customer falls back to the environment's free plan."""
    return await _act(mutation, subscriptions, data, subscription_id, Doing(_CANCELLATIONS[data.at], data.reason))


@delete(f"{_ONE}/scheduled-change", guards=[WRITE], security=SECURITY, tags=["Subscriptions"], status_code=_OK)
async def unschedule_change(
    subscription_id: FromPath[str],
    mutation: NamedDependency[Mutation],
    subscriptions: NamedDependency[Subscriptions],
) -> ExactResponse[SubscriptionBody]:
    """Take back what was to happen when the period ends: a change, or a cancellation."""
    return await _act(mutation, subscriptions, Nothing(), subscription_id, Doing(Action.UNSCHEDULE))


@post(
    "/v1/plans/{plan_key:str}/variants/{variant_key:str}/migrate",
    guards=[WRITE],
    security=SECURITY,
    tags=["Plans"],
    status_code=_OK,
)
async def migrate_subscribers(
    data: JSONBody[Migration],
    plan_key: FromPath[str],
    variant_key: FromPath[str],
    mutation: NamedDependency[Mutation],
    migrator: NamedDependency[Migrator],
) -> ExactResponse[MigrationBody]:
    """Move those who are on older versions of a variant to its newest, or say what that would do."""
    if (answered := await mutation.answered(data)) is not None:
        return answered
    moved = await migrator.migrate(mutation, plan_key, variant_key, data)

    async def answer(_tx: Transaction) -> MigrationBody:
        return moved

    return await mutation.run(data, answer, status=_OK)


async def _act(
    mutation: Mutation,
    subscriptions: Subscriptions,
    data: msgspec.Struct,
    subscription_id: str,
    doing: Doing,
) -> ExactResponse[SubscriptionBody]:
    if (answered := await mutation.answered(data)) is not None:
        return answered
    acted = subscriptions.act(mutation, parse_subscription_id(subscription_id), doing)
    return await _answer(mutation, data, acted, status=_OK)


async def _answer(
    mutation: Mutation, data: msgspec.Struct, done: Awaitable[UUID], *, status: int
) -> ExactResponse[SubscriptionBody]:
    """How the subscription stands once it is done; a refusal is stored beside the key as any answer is."""
    refused: ServiceError | None = None
    subscription_id: UUID | None = None
    try:
        subscription_id = await done
    except ServiceError as error:
        if status_of(error.code) not in STORED_REFUSALS:
            raise
        refused = error

    async def answer(tx: Transaction) -> SubscriptionBody:
        if refused is not None or subscription_id is None:
            raise refused or AssertionError
        return show_subscription(*await find_subscription(tx, subscription_id))

    return await mutation.run(data, answer, status=status)


@get("/v1/subscriptions", guards=[READ], security=SECURITY, tags=["Subscriptions"])
async def list_subscriptions(
    reader: NamedDependency[Reader],
    end_user_id: FromQuery[str | None] = None,
    in_state: Annotated[State | None, QueryParameter(name="state", description="Those that stand so.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[SubscriptionBody]:
    """Subscriptions in the order in which they were made, of one customer or of all, in one state or in all."""
    after = decode_cursor(cursor, UUID)

    async def work(tx: Transaction) -> Page[SubscriptionBody]:
        rows = await store.list_subscriptions(tx, end_user_id, in_state, after, limit + 1)
        return page(rows, limit, lambda row: show_subscription(*row), lambda row: row[1].id)

    return await reader.run(work)


@get(_ONE, guards=[READ], security=SECURITY, tags=["Subscriptions"])
async def get_subscription(subscription_id: FromPath[str], reader: NamedDependency[Reader]) -> SubscriptionBody:
    """One subscription, with what is to happen when its period ends."""
    wanted = parse_subscription_id(subscription_id)

    async def work(tx: Transaction) -> SubscriptionBody:
        return show_subscription(*await find_subscription(tx, wanted))

    return await reader.run(work)


@get(f"{_ONE}/history", guards=[READ], security=SECURITY, tags=["Subscriptions"])
async def list_history(
    subscription_id: FromPath[str], reader: NamedDependency[Reader], limit: Limit = 100, cursor: Cursor = None
) -> Page[ChangeBody]:
    """What became of a subscription, who did it and why, the newest first."""
    wanted, before = parse_subscription_id(subscription_id), decode_cursor(cursor, int)

    async def work(tx: Transaction) -> Page[ChangeBody]:
        await find_subscription(tx, wanted)
        changes = await store.list_history(tx, wanted, before, limit + 1)
        versions = {version for change in changes for version in versions_of(change) if version is not None}
        names = await plans.read_names(tx, tx.environment, sorted(versions))
        return page(changes, limit, lambda change: show_change(change, names), lambda change: change.number)

    return await reader.run(work)


ROUTES = [
    create_subscription,
    list_subscriptions,
    get_subscription,
    renew_subscription,
    change_subscription,
    preview_change,
    pause_subscription,
    resume_subscription,
    cancel_subscription,
    unschedule_change,
    list_history,
    migrate_subscribers,
]
