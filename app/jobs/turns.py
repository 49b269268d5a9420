"""Whose turn it is in a round, so that no partition and no server holds up another."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Self
from uuid import UUID

from app.entitlements.loading import Outcome, load_account
from app.io.cluster import run_all
from app.io.postgres import Database
from app.io.redis import RedisStore, RedisUnavailable
from app.wire.keys import account_ref, environment_ref

LOADS_AT_ONCE = 32
"""Accounts that are brought into Redis at a time, each of another partition; mostly they wait for flushers."""
WAIT_SECONDS = 0.25
"""How long each waits: some flushes. Where 64 partitions are all behind, a round is over in its second still."""
Customer = tuple[UUID, str]
"""Environment and end user."""
Partitions = Sequence[int]


class Turns:
    """Of one round. A partition where the flusher is behind, or whose server is away, has no further turn in it."""

    def __init__(
        self, database: Database, redis: RedisStore, servers: Sequence[Partitions], stop: asyncio.Event
    ) -> None:
        self._database = database
        self._redis = redis
        self._servers = servers
        self._stop = stop
        self._over = set[int]()
        self._failures: list[RedisUnavailable] = []
        self._slots = asyncio.Semaphore(LOADS_AT_ONCE)

    @classmethod
    async def begin(cls, database: Database, redis: RedisStore, stop: asyncio.Event) -> Self:
        """All partitions have their turn. Raises RedisUnavailable where no server says which it has."""
        return cls(database, redis, await redis.partitions_by_server(), stop)

    def end(self) -> None:
        """Raise what servers failed with, now that the others have had their turns."""
        if self._failures:
            raise ExceptionGroup("servers that are away", self._failures)

    @property
    def are_over(self) -> bool:
        """Whether nothing is left to do in this round: nobody has a turn, or it is time to stop."""
        return not any(self.has(partition) for server in self._servers for partition in server)

    @property
    def left_some_out(self) -> bool:
        """Whether a partition has lost its turn."""
        return bool(self._over)

    def has(self, partition: int) -> bool:
        """Whether the partition has its turn."""
        return not self._stop.is_set() and partition not in self._over

    async def at_each_server(self, work: Callable[[Partitions], Awaitable[int]]) -> int:
        """Do `work` with the partitions of each server that have their turn, at all servers at once; the sum of it."""
        return sum(await run_all(self._at(server, work) for server in self._servers))

    async def _at(self, server: Partitions, work: Callable[[Partitions], Awaitable[int]]) -> int:
        partitions = list(filter(self.has, server))
        if not partitions:
            return 0
        try:
            return await work(partitions)
        except RedisUnavailable as error:
            self._over.update(server)
            self._failures.append(error)
            return 0

    async def load(self, customers: Iterable[Customer]) -> Mapping[Customer, Outcome]:
        """Bring accounts into Redis, each partition's in their order; what became of those that had their turn."""
        by_partition: dict[int, list[Customer]] = {}
        for customer in dict.fromkeys(customers):
            by_partition.setdefault(self._partition(customer), []).append(customer)
        outcomes: dict[Customer, Outcome] = {}
        await run_all(self._load(*one, outcomes) for one in by_partition.items())
        return outcomes

    async def _load(self, partition: int, customers: Iterable[Customer], outcomes: dict[Customer, Outcome]) -> None:
        for customer in customers:
            async with self._slots:
                if not self.has(partition):
                    return
                outcomes[customer] = outcome = await load_account(
                    self._database, self._redis, *customer, wait_seconds=WAIT_SECONDS
                )
                if outcome == "busy":
                    self._over.add(partition)

    def _partition(self, customer: Customer) -> int:
        return self._redis.partition(account_ref(environment_ref(customer[0]), customer[1]))
