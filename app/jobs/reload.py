"""Accounts with reservations that should have ended are loaded, so that they do.

Only scripts end a reservation, and they see what is in Redis. Where its memory was lost, an account comes back when
somebody touches it; one that nobody touches would hold its credit for ever.
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

from app.io.clock import Clock
from app.io.postgres import Database, Transaction
from app.io.redis import RedisStore
from app.io.statements import statements
from app.jobs.rounds import Pace, run_rounds
from app.jobs.turns import Customer, Partitions, Turns
from app.wire.keys import account_ref, environment_ref

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
        await run_rounds(partial(self.round, stop), Pace("reloads", RELOAD_SECONDS), stop)

    async def round(self, stop: asyncio.Event) -> int:
        """Load every account that holds what should have ended; how many were asked for.

        Where the flusher is behind in a partition, the rest of that one comes in the next round. Raises ExceptionGroup
        of RedisUnavailable, after all that could be loaded.
        """
        before, after, seen, count = self._clock.now() - GRACE, BEGINNING, set[Customer](), 0
        turns = await Turns.begin(self._database, self._redis, stop)
        while not turns.are_over and (page := await self._list(before, after)):
            after = page[-1][0]
            new = {account: self._partition(account) for _, account in page if account not in seen}
            seen.update(new)
            count += await turns.at_each_server(partial(_load, turns, new))
        turns.end()
        return count

    def _partition(self, account: Customer) -> int:
        return self._redis.partition(account_ref(environment_ref(account[0]), account[1]))

    async def _list(self, before: datetime, after: Place) -> list[tuple[Place, Customer]]:
        """(place of a reservation, (environment, end user)), those that fell due first before the others."""

        async def read(tx: Transaction) -> list[tuple[Place, Customer]]:
            rows = await tx.connection.fetch(_SQL["list_overdue_accounts"], before, *after, PAGE)
            return [((row[0], row[1], row[2]), (row[1], row[3])) for row in rows]

        return await self._database.run(None, read)


async def _load(turns: Turns, accounts: Mapping[Customer, int], partitions: Partitions) -> int:
    """Load the accounts that are in these partitions; how many had their turn."""
    here = frozenset(partitions)
    return len(await turns.load(account for account, partition in accounts.items() if partition in here))
