"""Ticks for what falls due at accounts that nobody touches, so that the flusher posts it."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

import msgspec

from app.io.clock import Clock
from app.io.postgres import Database, Transaction
from app.io.redis import RedisStore
from app.io.statements import statements
from app.jobs.rounds import Pace, run_rounds
from app.jobs.turns import Partitions, Turns
from app.rules.moments import to_at
from app.wire import keys

_SQL = statements("app.jobs")
TICK_SECONDS = 1.0
"""How often due accounts are looked for."""
PAGE = 1_000
"""Accounts that are ticked in one write."""
Place = tuple[datetime, UUID, UUID]
BEGINNING: Place = (datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0), UUID(int=0))


class DueAccount(msgspec.Struct, frozen=True):
    """An account at which something is due."""

    valid_until: datetime
    environment_id: UUID
    account_id: UUID
    end_user_id: str

    @property
    def ref(self) -> bytes:
        """The customer's name in Redis."""
        return keys.account_ref(keys.environment_ref(self.environment_id), self.end_user_id)

    @property
    def place(self) -> Place:
        """Where it stands in the order of a round."""
        return self.valid_until, self.environment_id, self.account_id


class Ticker:
    """Looks for due accounts until told to stop. Several may run at once: a tick too many does nothing."""

    def __init__(self, database: Database, redis: RedisStore, clock: Clock) -> None:
        self._database = database
        self._redis = redis
        self._clock = clock
        self._ticked_to = BEGINNING
        """Where the last round ended: up to there everybody due was ticked."""

    async def run(self, stop: asyncio.Event) -> None:
        """A round every TICK_SECONDS; one that fails is tried again."""
        await run_rounds(partial(self.round, stop), Pace("ticks", TICK_SECONDS), stop)

    async def round(self, stop: asyncio.Event) -> int:
        """One tick for every account that is due now, however many share a moment; the number of accounts.

        What takes the flusher longer than a round is not ticked again and again: behind its first page a round goes on
        where the last one ended. What has a new reason to be ticked comes into the first page, as others are posted.
        Where an account cannot be loaded, the flusher is behind: those like it in its partition have their turn in the
        next round. Raises ExceptionGroup of RedisUnavailable, after all that could be ticked.
        """
        now, after, count = self._clock.now(), BEGINNING, 0
        turns = await Turns.begin(self._database, self._redis, stop)
        while not turns.are_over and (page := await self._list_due(now, after)):
            count += await turns.at_each_server(partial(self._tick, page, now, turns))
            after = page[-1].place if len(page) < PAGE else max(page[-1].place, self._ticked_to)
        self._ticked_to = BEGINNING if turns.left_some_out else after
        turns.end()
        return count

    async def _list_due(self, now: datetime, after: Place) -> list[DueAccount]:
        async def read(tx: Transaction) -> list[DueAccount]:
            rows = await tx.connection.fetch(_SQL["list_due_accounts"], now, *after, PAGE)
            return [DueAccount(*row) for row in rows]

        return await self._database.run(None, read)

    async def _tick(self, page: Sequence[DueAccount], now: datetime, turns: Turns, partitions: Partitions) -> int:
        """Tick those of a page that are in these partitions of one server; how many."""
        here = frozenset(partitions)
        due = [account for account in page if self._redis.partition(account.ref) in here]
        if not due:
            return 0
        answers = await self._redis.tick([account.ref for account in due], to_at(now))
        missing = [account for account, answer in zip(due, answers, strict=True) if answer == "miss"]
        loaded = await turns.load((account.environment_id, account.end_user_id) for account in missing)
        if loaded:
            refs = [keys.account_ref(keys.environment_ref(environment), end_user) for environment, end_user in loaded]
            await self._redis.tick(refs, to_at(now))
        return len(due)
