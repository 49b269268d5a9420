"""Moving the subscribers of a variant to its newest version, or saying what that would do: one page of them a call.

Each is moved by an order of its own, whose id follows from the request and the subscription, so that a call that is
repeated, after whatever crash, moves nobody twice.
"""

import asyncio
from collections import Counter
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from app.io.postgres import Database, Transaction
from app.orders.outcomes import Refused
from app.orders.service import Orders
from app.plans import service as plans
from app.rules.lifecycle import Action, State
from app.rules.moments import to_at
from app.rules.subscriptions import is_upgrade
from app.rules.terms import SubscriptionTerms
from app.subscriptions import store
from app.subscriptions.book import Kept, is_leaving
from app.subscriptions.previewing import Previewed, preview
from app.subscriptions.schemas import When
from app.trail.idempotency import Mutation
from app.web.amounts import Credits
from app.web.fields import Reason
from app.web.paging import Listing
from app.wire.codes import Code
from app.wire.ids import derived_id
from app.wire.orders import Act

MAX_MOVED = 1_000
AT_ONCE = 8
"""Orders of one call that are waited for at the same time."""
_MOVED_IN = frozenset({State.TRIALING, State.ACTIVE})
_SUBSCRIBERS = Listing("subscribers", UUID)


class Migration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When subscribers of a variant are to be moved to its newest version; `dry_run` only says what that would do.

    A call looks at `limit` of them, after the `cursor` that the call before it answered.
    """

    at: When = When.PERIOD_END
    dry_run: bool = False
    limit: Annotated[int, Meta(ge=1, le=MAX_MOVED)] = MAX_MOVED
    cursor: str | None = None
    reason: Reason | None = None


class Stays(StrEnum):
    """Why a subscriber is not moved; or the reason for which a change of the subscription is refused."""

    SCHEDULED = "scheduled"
    """It has not begun."""
    PAUSED = "paused"
    OVERDUE = "overdue"
    LEAVING = "leaving"
    """It ends with its period, or is to be changed to something else then."""
    MOVED = "moved"
    """It is to be moved to this version already."""
    REPLACED = "replaced"
    """Another subscription is to take its place."""


class MigrationBody(msgspec.Struct, frozen=True):
    """What was done, or would be, with the subscribers that were looked at.

    `upgraded` and `downgraded` are those who are moved, by whether they have at least as much credit then;
    `credits_granted` is what they are granted at once; `staying` counts the others by why.
    """

    plan_key: str
    variant_key: str
    version: int
    dry_run: bool
    upgraded: int
    downgraded: int
    credits_granted: Credits
    from_versions: dict[str, int]
    staying: dict[str, int]
    next_cursor: str | None


class Migrator:
    """Moves subscribers for core."""

    def __init__(self, database: Database, orders: Orders, zone: str) -> None:
        self._database = database
        self._orders = orders
        self._zone = zone

    async def migrate(self, mutation: Mutation, plan_key: str, variant_key: str, asked: Migration) -> MigrationBody:
        """Move a page of subscribers, or say what that would do. Raises ServiceError: NOT_FOUND, INVALID_VALUE."""

        async def look(tx: Transaction) -> tuple[SubscriptionTerms, list[tuple[str, Kept]]]:
            variant_id = await plans.find_variant_id(tx, plan_key, variant_key)
            newest = (await plans.read_newest_terms(tx, [(tx.environment, variant_id)]))[variant_id]
            after = _SUBSCRIBERS.decode(asked.cursor)
            return newest, await store.list_to_migrate(tx, variant_id, after, asked.limit + 1)

        newest, rows = await self._database.run(mutation.environment_id, look)
        page = rows[: asked.limit]
        tally = Tally(newest)
        moving = [row for row in page if tally.is_moved(row[1])]
        for start in range(0, len(moving), AT_ONCE):
            part = moving[start : start + AT_ONCE]
            granted = await asyncio.gather(*(self._move(mutation, asked, newest, *row) for row in part))
            for (_, kept), done in zip(part, granted, strict=True):
                tally.count(kept, done)
        cursor = _SUBSCRIBERS.encode(page[-1][1].id) if len(rows) > asked.limit else None
        return tally.show(cursor, is_dry=asked.dry_run)

    async def _move(
        self, mutation: Mutation, asked: Migration, newest: SubscriptionTerms, end_user_id: str, kept: Kept
    ) -> int | Refused:
        """Micro-credits that it is granted at once, or why it is not moved."""
        base = self._orders.id_of(mutation.environment_id, mutation.route, mutation.key)
        order = Act(
            order_id=derived_id(b"migration", base.hex.encode(), kept.id.hex.encode()),
            actor=mutation.actor,
            reason=asked.reason,
            idempotency_key=mutation.key,
            subscription_id=kept.id,
            action=Action.CHANGE if asked.at is When.NOW else Action.SCHEDULE_CHANGE,
            variant_id=newest.name.variant_id,
            unless_leaving=True,  # whoever cancels while others are moved is not to stay by it
        )

        async def look(tx: Transaction) -> Previewed | Refused:
            return await preview(tx, kept, order, to_at(mutation.now), self._zone)

        would = await self._database.run(mutation.environment_id, look)
        if isinstance(would, Refused):
            return would
        if not asked.dry_run:
            done = await self._orders.give(mutation.environment_id, end_user_id, order)
            if done.code is not None:
                return Refused(Code(done.code), context=done.context)
        return sum(grant.amount_micro for grant in would.grants)


def why_refused(refused: Refused) -> str:
    """Why a change was refused, by one name: where it stands by now, what else does not allow it, or the code."""
    context = refused.context or {}
    match refused.code:
        case Code.ILLEGAL_MOVE:
            return context["state"]
        case Code.ACTION_REFUSED:
            return context["why"]
        case Code.SUBSCRIPTION_EXISTS:
            return Stays.REPLACED.value
        case code:
            return code.value


class Tally:
    """Counts who is moved, and who stays and why."""

    def __init__(self, newest: SubscriptionTerms) -> None:
        self._newest = newest
        self._upgraded = self._downgraded = self._granted_micro = 0
        self._versions: Counter[str] = Counter()
        self._staying: Counter[str] = Counter()

    def is_moved(self, kept: Kept) -> bool:
        """Whether the subscriber is to be moved; counted where not."""
        why = self._why_not(kept)
        if why is not None:
            self._staying[why.value] += 1
        return why is None

    def _why_not(self, kept: Kept) -> Stays | None:
        rules = kept.rules
        if rules.state not in _MOVED_IN:
            return Stays(rules.state.value)
        if rules.pending is not None and rules.pending.version_id == self._newest.version_id:
            return Stays.MOVED
        return Stays.LEAVING if is_leaving(rules, self._newest.name.variant_id) else None

    def count(self, kept: Kept, done: int | Refused) -> None:
        """One who was to be moved: the micro-credits that they were granted, or why they are not."""
        if isinstance(done, Refused):
            self._staying[why_refused(done)] += 1
            return
        self._granted_micro += done
        self._versions[str(kept.rules.terms.name.version)] += 1
        if is_upgrade(kept.rules.terms, self._newest):
            self._upgraded += 1
        else:
            self._downgraded += 1

    def show(self, next_cursor: str | None, *, is_dry: bool) -> MigrationBody:
        """The sums."""
        name = self._newest.name
        return MigrationBody(
            plan_key=name.plan_key,
            variant_key=name.variant_key,
            version=name.version,
            dry_run=is_dry,
            upgraded=self._upgraded,
            downgraded=self._downgraded,
            credits_granted=Credits(self._granted_micro),
            from_versions=dict(self._versions),
            staying=dict(self._staying),
            next_cursor=next_cursor,
        )
