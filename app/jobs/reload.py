"""Accounts with reservations that should have ended are loaded, so that they do.

Only scripts end a reservation, and they see what is in Redis. Where its memory was lost, an account comes back when
somebody touches it; one that nobody touches would hold its credit for ever.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from app.entitlements.loading import load_account
from app.errors import ServiceError
from app.io.clock import Clock
from app.io.postgres import Database, Transaction
from app.io.redis import RedisStore, RedisUnavailable
from app.io.statements import statements
from app.wire.keys import account_ref, environment_ref

log: Any = structlog.get_logger()
_SQL = statements("app.jobs")
RELOAD_SECONDS = 10.0
"""How often such accounts are looked for."""
GRACE = timedelta(seconds=10)
"""How long past due a reservation may be open in the ledger: until then it is swept, or its end is being posted."""
PAGE = 500
"""Reservations that are read at once."""
Place = tuple[datetime, UUID, UUID]
BEGINNING: Place = (datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0), UUID(int=0))


class Reloader:
    """Looks for such accounts until told to stop. Several may run at once: an account is loaded once."""

    def __init__(self, database: Database, redis: RedisStore, clock: Clock) -> None:
        self._database = database
        self._redis = redis
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        """A round every RELOAD_SECONDS; one that fails is tried again."""
        while not stop.is_set():
            try:
                await self.round(stop)
            except (RedisUnavailable, ServiceError) as error:
                log.warning("reload_failed", error=str(error), kind=type(error).__name__)
            try:
                await asyncio.wait_for(stop.wait(), RELOAD_SECONDS)
            except TimeoutError:
                continue

    async def round(self, stop: asyncio.Event) -> int:
        """Load every account that holds what should have ended; how many those were.

        Ends early when told to stop. Where the flusher is behind in a partition, the rest of that one comes later.
        """
        before, after, seen = self._clock.now() - GRACE, BEGINNING, set[tuple[UUID, str]]()
        busy = set[int]()
        while not stop.is_set() and (page := await self._list(before, after)):
            after = page[-1][0]
            for account in [account for _, account in page if account not in seen]:
                seen.add(account)
                partition = self._redis.partition(account_ref(environment_ref(account[0]), account[1]))
                if stop.is_set():
                    return len(seen)
                if partition not in busy and await load_account(self._database, self._redis, *account) == "busy":
                    busy.add(partition)
        return len(seen)

    async def _list(self, before: datetime, after: Place) -> list[tuple[Place, tuple[UUID, str]]]:
        """(place of a reservation, (environment, end user)), those that fell due first before the others."""

        async def read(tx: Transaction) -> list[tuple[Place, tuple[UUID, str]]]:
            rows = await tx.connection.fetch(_SQL["list_overdue_accounts"], before, *after, PAGE)
            return [((row[0], row[1], row[2]), (row[1], row[3])) for row in rows]

        return await self._database.run(None, read)
