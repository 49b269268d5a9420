"""Customers who were to be on the free plan, and whom core did not come to enrol, are enrolled.

Core makes the customer, then gives the order. Where it dies in between, or the flusher is behind, edges know the
customer from then on, and nobody would give that order any more.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Self
from uuid import UUID

import msgspec
from msgspec.structs import replace

from app.io.clock import Clock
from app.io.postgres import Database, Transaction
from app.io.redis import RedisStore
from app.io.statements import statements
from app.jobs.rounds import Pace, run_rounds
from app.jobs.turns import Partitions, Turns
from app.rules.moments import to_at
from app.subscriptions.enrolling import order_enrolment
from app.wire import keys
from app.wire.ids import uuid7
from app.wire.orders import encode_order

_SQL = statements("app.jobs")
LOOK_SECONDS = 10.0
"""How often such customers are looked for."""
GRACE = timedelta(seconds=10)
"""How long core has to enrol a customer itself."""
REACH = timedelta(days=8)
"""How long ago a customer may have been made: who was left out before a week in which nothing ran is found after it."""
COMMIT_LAG = timedelta(minutes=5)
"""How long after its moment a customer may be seen first: clocks differ, and core's transactions take their time."""
ENVIRONMENTS = 1_000
"""Environments that are looked through at once."""
PAGE = 500
"""Customers that are read at once."""
MILLISECOND = timedelta(milliseconds=1)
NOBODY = UUID(int=0)
ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)


class Window(msgspec.Struct, frozen=True):
    """Whom to look at in an environment: ids of customers say when they were made."""

    environment_id: UUID
    variant_id: UUID
    """Of its free plan."""
    first_id: UUID
    end_id: UUID

    def after(self, last: "NotEnrolled") -> Self:
        """What is left of it behind a customer."""
        if last.environment_id != self.environment_id:
            return self
        return replace(self, first_id=UUID(int=last.id.int + 1))


class NotEnrolled(msgspec.Struct, frozen=True):
    """A customer who has no subscription, nor had one."""

    environment_id: UUID
    id: UUID
    end_user_id: str

    @property
    def ref(self) -> bytes:
        """The customer's name in Redis."""
        return keys.account_ref(keys.environment_ref(self.environment_id), self.end_user_id)


class EnrolmentSweeper:
    """Looks for such customers until told to stop. Several may run at once: an order has one effect."""

    def __init__(self, database: Database, redis: RedisStore, clock: Clock) -> None:
        self._database = database
        self._redis = redis
        self._clock = clock
        self._done_to = ALWAYS
        """Where the last round ended that found nobody."""

    async def run(self, stop: asyncio.Event) -> None:
        """A round every LOOK_SECONDS; one that fails is tried again."""
        await run_rounds(partial(self.round, stop), Pace("enrolments", LOOK_SECONDS), stop)

    async def round(self, stop: asyncio.Event) -> int:
        """Give the order for every customer who is left; how many.

        While something of an account is under way, perhaps that order, it waits for the next round: where nobody posts,
        no orders pile up. What a round found nobody in is not looked through again. Raises ExceptionGroup of
        RedisUnavailable, after all that could be given.
        """
        end = self._clock.now() - GRACE
        since = max(end - REACH, self._done_to - COMMIT_LAG)
        turns = await Turns.begin(self._database, self._redis, stop)
        after, found, count = NOBODY, 0, 0
        while not turns.are_over and (windows := await self._list_windows(after, since, end)):
            after = windows[-1].environment_id
            found_here, count_here = await self._look_through(windows, turns)
            found, count = found + found_here, count + count_here
        if not found and not turns.are_over:
            self._done_to = end
        turns.end()
        return count

    async def _look_through(self, windows: Sequence[Window], turns: Turns) -> tuple[int, int]:
        """(customers who were found, orders that were given)."""
        variants = {window.environment_id: window.variant_id for window in windows}
        found = count = 0
        while not turns.are_over and (page := await self._list(windows)):
            last = page[-1]
            windows = [window.after(last) for window in windows if window.environment_id >= last.environment_id]
            found += len(page)
            count += await turns.at_each_server(partial(self._enrol, page, variants, turns))
        return found, count

    async def _enrol(
        self, page: Sequence[NotEnrolled], variants: Mapping[UUID, UUID], turns: Turns, partitions: Partitions
    ) -> int:
        """Give the orders for those of a page that are in these partitions of one server; how many."""
        here = frozenset(partitions)
        customers = [customer for customer in page if self._redis.partition(customer.ref) in here]
        if not customers:
            return 0
        names = [(customer.environment_id, customer.end_user_id) for customer in customers]
        accounts = await self._redis.read_accounts_at_rest(names)
        missing = [name for name, account in zip(names, accounts, strict=True) if account is None]
        loaded = {name for name, outcome in (await turns.load(missing)).items() if outcome == "loaded"}
        now_at, count = to_at(self._clock.now()), 0
        for customer, name, account in zip(customers, names, accounts, strict=True):
            if name in loaded or (account is not None and account.quiet):
                order = order_enrolment(customer.id, variants[customer.environment_id])
                count += await self._redis.order(customer.ref, now_at, encode_order(order)) == "ok"
        return count

    async def _list_windows(self, after: UUID, since: datetime, end: datetime) -> list[Window]:
        """What to look at in some environments after one; where time stands still, up to where it stands."""

        async def read(tx: Transaction) -> list[Window]:
            rows = await tx.connection.fetch(_SQL["list_enrolling"], after, ENVIRONMENTS)
            return [Window(row[0], row[1], *_ids(row[2], row[3], since, end)) for row in rows]

        return await self._database.run(None, read)

    async def _list(self, windows: Sequence[Window]) -> list[NotEnrolled]:
        bounds = list(zip(*((each.environment_id, each.first_id, each.end_id) for each in windows), strict=True))

        async def read(tx: Transaction) -> list[NotEnrolled]:
            rows = await tx.connection.fetch(_SQL["list_not_enrolled"], *bounds, PAGE)
            return [NotEnrolled(*row) for row in rows]

        return await self._database.run(None, read)


def _ids(enrolling_since: datetime, frozen_at: datetime | None, since: datetime, end: datetime) -> tuple[UUID, UUID]:
    """The first id of a window and the end of its ids. Where time stands still, all were made before it goes on."""
    if frozen_at is not None:
        since, end = frozen_at - REACH, frozen_at + MILLISECOND
    return uuid7(to_at(max(since, enrolling_since)), 0), uuid7(to_at(end), 0)
