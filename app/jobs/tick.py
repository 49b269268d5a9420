"""Ticks for what falls due at accounts that nobody touches, so that the flusher posts it."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import structlog

from app.entitlements.loading import Outcome, load_account
from app.errors import ServiceError
from app.io.clock import Clock
from app.io.postgres import Database, Transaction
from app.io.redis import RedisStore, RedisUnavailable
from app.io.statements import statements
from app.rules.moments import to_at
from app.wire import keys

log: Any = structlog.get_logger()
_SQL = statements("app.jobs")
TICK_SECONDS = 1.0
"""How often due accounts are looked for."""
PAGE = 1_000
"""Accounts that are ticked in one write."""
LOADS_AT_ONCE = 4
"""Accounts that nobody has loaded are brought into Redis first; as many at a time as there are connections."""
BEGINNING = (datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0), UUID(int=0))


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
    def place(self) -> tuple[datetime, UUID, UUID]:
        """Where it stands in the order of a round."""
        return self.valid_until, self.environment_id, self.account_id


class Ticker:
    """Looks for due accounts until told to stop. Several may run at once: a tick too many does nothing."""

    def __init__(self, database: Database, redis: RedisStore, clock: Clock) -> None:
        self._database = database
        self._redis = redis
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        """A round every TICK_SECONDS; one that fails is tried again."""
        while not stop.is_set():
            try:
                await self.round(stop)
            except* (RedisUnavailable, ServiceError) as errors:
                for error in errors.exceptions:
                    log.warning("round_failed", error=str(error), kind=type(error).__name__)
            try:
                await asyncio.wait_for(stop.wait(), TICK_SECONDS)
            except TimeoutError:
                continue

    async def round(self, stop: asyncio.Event) -> int:
        """One tick for every account that is due now, however many share a moment; the number of accounts.

        Ends early when told to stop, and where an account cannot be loaded: the flusher is behind, and has its turn.
        """
        now, after, count = self._clock.now(), BEGINNING, 0
        while not stop.is_set() and (page := await self._list_due(now, after)):
            after, count = page[-1].place, count + len(page)
            if not await self._tick(page, now, stop):
                break
        return count

    async def _list_due(self, now: datetime, after: tuple[datetime, UUID, UUID]) -> list[DueAccount]:
        async def read(tx: Transaction) -> list[DueAccount]:
            rows = await tx.connection.fetch(_SQL["list_due_accounts"], now, *after, PAGE)
            return [DueAccount(*row) for row in rows]

        return await self._database.run(None, read)

    async def _tick(self, due: Sequence[DueAccount], now: datetime, stop: asyncio.Event) -> bool:
        """Tick a page; whether all of it could be ticked."""
        answers = await self._redis.tick([account.ref for account in due], to_at(now))
        missing = [account for account, answer in zip(due, answers, strict=True) if answer == "miss"]
        loaded: list[DueAccount] = []
        for start in range(0, len(missing), LOADS_AT_ONCE):
            group = missing[start : start + LOADS_AT_ONCE]
            loaded += group
            if stop.is_set() or "busy" in await self._load(group):
                break
        if loaded:
            await self._redis.tick([account.ref for account in loaded], to_at(now))
        return len(loaded) == len(missing)

    async def _load(self, accounts: Sequence[DueAccount]) -> list[Outcome]:
        """Bring accounts into Redis, all at once."""
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(load_account(self._database, self._redis, a.environment_id, a.end_user_id))
                for a in accounts
            ]
        return [task.result() for task in tasks]
