"""Routes of subscriptions."""

from functools import partial
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from litestar import delete, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

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
from app.subscriptions.service import Acted, Doing, Subscriptions, find_subscription, parse_subscription_id
from app.trail import audit
from app.trail.idempotency import Mutation, NoBody, Unchanged
from app.web.bodies import ExactResponse
from app.web.paging import Cursor, Limit, Listing, Page
from app.web.principal import SECURITY, needs
from app.web.reader import Reader
from app.wire.scopes import Scope

READ = needs(Scope.ENTITLEMENTS_READ, Scope.SUBSCRIPTIONS_WRITE)
WRITE = needs(Scope.SUBSCRIPTIONS_WRITE)
_SUBSCRIPTIONS = Listing("subscriptions", UUID)
_HISTORY = Listing("subscription history", int)
_ONE = "/v1/subscriptions/{subscription_id:str}"
_OK = 200
_CHANGES = {
    None: (Action.CHANGE, True),
    When.NOW: (Action.CHANGE, False),
    When.PERIOD_END: (Action.SCHEDULE_CHANGE, False),
}
"""By when a change is to take place: the action, and whether it is put off where it gives less."""
_CANCELLATIONS = {When.NOW: Action.CANCEL, When.PERIOD_END: Action.CANCEL_AT_PERIOD_END}


class OneSubscription:
    """The subscription that a path names, as actions reach it."""

    def __init__(self, subscription_id: str, mutation: Mutation, subscriptions: Subscriptions) -> None:
        self._subscription_id = subscription_id
        self._mutation = mutation
        self._subscriptions = subscriptions

    async def act(self, asked: msgspec.Struct, doing: Doing) -> ExactResponse[SubscriptionBody]:
        """How the subscription stands once it is done."""

        async def act() -> Acted:
            return await self._subscriptions.act(self._mutation, parse_subscription_id(self._subscription_id), doing)

        return await self._mutation.run_outside(asked, act, _show, status=_OK)


def provide_one(
    subscription_id: FromPath[str], mutation: NamedDependency[Mutation], subscriptions: NamedDependency[Subscriptions]
) -> OneSubscription:
    """The subscription as handlers take it."""
    return OneSubscription(subscription_id, mutation, subscriptions)


_ACTION: dict[str, Any] = {
    "guards": [WRITE],
    "security": SECURITY,
    "tags": ["Subscriptions"],
    "status_code": _OK,
    "dependencies": {"subscription": Provide(provide_one, sync_to_thread=False)},
}
"""What routes have in common that do something with one subscription."""


@post("/v1/subscriptions", guards=[WRITE], security=SECURITY, tags=["Subscriptions"])
async def create_subscription(
    data: JSONBody[NewSubscription],
    mutation: NamedDependency[Mutation],
    subscriptions: NamedDependency[Subscriptions],
) -> ExactResponse[SubscriptionBody]:
    """Subscribe a customer to a plan variant, from now on or later. The customer is made where there is none.

    Edges know of it before the answer. While a customer is on the environment's free plan, this takes its place.
    """
    return await mutation.run_outside(data, lambda: subscriptions.subscribe(mutation, data), _show)


@post(f"{_ONE}/renew", **_ACTION)
async def renew_subscription(
    data: JSONBody[Renewal], subscription: NamedDependency[OneSubscription]
) -> ExactResponse[SubscriptionBody]:
    """Say that the next period of a prepaid subscription is paid for. What is overdue goes on at once."""
    renewal = Doing(Action.RENEW, data.reason, period_index=data.period_index, payment_reference=data.payment_reference)
    return await subscription.act(data, renewal)


@post(f"{_ONE}/change", **_ACTION)
async def change_subscription(
    data: JSONBody[ChangeTerms], subscription: NamedDependency[OneSubscription]
) -> ExactResponse[SubscriptionBody]:
    """Move a subscription to the newest version of a variant: at once, or when its period ends."""
    return await subscription.act(data, _change(data))


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


@post(f"{_ONE}/pause", **_ACTION)
async def pause_subscription(
    data: JSONBody[Motive], subscription: NamedDependency[OneSubscription]
) -> ExactResponse[SubscriptionBody]:
    """Let the time of a subscription stand still, and that of its credit."""
    return await subscription.act(data, Doing(Action.PAUSE, data.reason))


@post(f"{_ONE}/resume", **_ACTION)
async def resume_subscription(
    data: JSONBody[Motive], subscription: NamedDependency[OneSubscription]
) -> ExactResponse[SubscriptionBody]:
    """Let a paused subscription go on with the time that it had left."""
    return await subscription.act(data, Doing(Action.RESUME, data.reason))


@post(f"{_ONE}/cancel", **_ACTION)
async def cancel_subscription(
    data: JSONBody[Cancellation], subscription: NamedDependency[OneSubscription]
) -> ExactResponse[SubscriptionBody]:
    """End a subscription when its period ends, or at once. The customer falls back to the environment's free plan."""
    return await subscription.act(data, Doing(_CANCELLATIONS[data.at], data.reason))


@delete(f"{_ONE}/scheduled-change", **_ACTION)
async def unschedule_change(subscription: NamedDependency[OneSubscription]) -> ExactResponse[SubscriptionBody]:
    """Take back what was to happen when the period ends: a change, or a cancellation."""
    return await subscription.act(NoBody(), Doing(Action.UNSCHEDULE))


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

    async def answer(tx: Transaction, moved: MigrationBody) -> MigrationBody | Unchanged:
        audit.changed(tx, "plan_variant", f"{plan_key}/{variant_key}")
        return Unchanged(moved) if data.dry_run else moved

    move = partial(migrator.migrate, mutation, plan_key, variant_key, data)
    return await mutation.run_outside(data, move, answer, status=_OK)


async def _show(tx: Transaction, acted: Acted) -> SubscriptionBody:
    """How the subscription stands by now."""
    body = show_subscription(*await find_subscription(tx, acted.subscription_id))
    audit.changed(tx, "subscription", body.subscription_id, before=acted.before)
    return body


@get("/v1/subscriptions", guards=[READ], security=SECURITY, tags=["Subscriptions"])
async def list_subscriptions(
    reader: NamedDependency[Reader],
    end_user_id: FromQuery[str | None] = None,
    in_state: Annotated[State | None, QueryParameter(name="state", description="Those that stand so.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[SubscriptionBody]:
    """Subscriptions in the order in which they were made, of one customer or of all, in one state or in all."""
    after = _SUBSCRIPTIONS.decode(cursor)

    async def work(tx: Transaction) -> Page[SubscriptionBody]:
        rows = await store.list_subscriptions(tx, end_user_id, in_state, after, limit + 1)
        return _SUBSCRIPTIONS.page(rows, limit, lambda row: show_subscription(*row), lambda row: row[1].id)

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
    wanted, before = parse_subscription_id(subscription_id), _HISTORY.decode(cursor)

    async def work(tx: Transaction) -> Page[ChangeBody]:
        await find_subscription(tx, wanted)
        changes = await store.list_history(tx, wanted, before, limit + 1)
        versions = {version for change in changes for version in versions_of(change) if version is not None}
        names = await plans.read_names(tx, tx.environment, sorted(versions))
        return _HISTORY.page(changes, limit, lambda change: show_change(change, names), lambda change: change.number)

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
