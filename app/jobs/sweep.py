"""Reservations that are past due end where nobody meets them: the sweep runs the same script as the edges do."""

import asyncio
from functools import partial
from typing import Any

import structlog

from app.io.clock import Clock
from app.io.cluster import run_all
from app.io.postgres import Database
from app.io.redis import RedisStore
from app.io.reservations import expire, forget, list_due
from app.jobs.rounds import Pace, run_rounds
from app.jobs.turns import Partitions, Turns
from app.rules.moments import to_at
from app.wire import keys

log: Any = structlog.get_logger()
SWEEP_SECONDS = 1.0
"""How often reservations that are past due are looked for; `held.EXPIRY_LAG_SECONDS` is the promise that follows."""
PAGE = 200
"""Of one partition at a time."""


class Sweeper:
    """Looks for reservations that are past due until told to stop. Several may run at once: the first end counts."""

    def __init__(self, database: Database, redis: RedisStore, clock: Clock) -> None:
        self._database = database
        self._redis = redis
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        """A round every SWEEP_SECONDS; one that fails is tried again."""
        await run_rounds(partial(self.round, stop), Pace("sweeps", SWEEP_SECONDS), stop)

    async def round(self, stop: asyncio.Event) -> int:
        """Expire what is past due now, in pages; how many were.

        A partition where a page brings nothing on has its turn in the next round, as one has with an account that
        cannot be loaded. Raises ExceptionGroup of RedisUnavailable, after all that could be swept.
        """
        turns = await Turns.begin(self._database, self._redis, stop)
        ended = await turns.at_each_server(partial(self._sweep, turns, to_at(self._clock.now())))
        turns.end()
        return ended

    async def _sweep(self, turns: Turns, now_at: int, partitions: Partitions) -> int:
        """Sweep these partitions of one server, all at once."""
        due: dict[int, list[bytes]] = {}
        for partition, member in await list_due(self._redis, partitions, now_at, PAGE):
            due.setdefault(partition, []).append(member)
        return sum(await run_all(self._sweep_one(turns, now_at, *one) for one in due.items()))

    async def _sweep_one(self, turns: Turns, now_at: int, partition: int, due: list[bytes]) -> int:
        """Sweep a partition, from its first page on."""
        count = 0
        while turns.has(partition):
            ended = await self._expire(turns, now_at, [(partition, member) for member in due])
            count += ended
            if not ended or len(due) < PAGE:
                break
            due = [member for _, member in await list_due(self._redis, [partition], now_at, PAGE)]
        return count

    async def _expire(self, turns: Turns, now_at: int, due: list[tuple[int, bytes]]) -> int:
        """Expire a page; how many have ended by it, or are not due for us any more."""
        expiries = await expire(self._redis, due, now_at)
        missing = [(keys.parse_account_ref(expiry.ref), expiry) for expiry in expiries if expiry.answer == "miss"]
        outcomes = await turns.load(customer for customer, _ in missing)
        loaded = [(one.partition, one.member) for customer, one in missing if outcomes.get(customer) == "loaded"]
        if loaded:
            expiries += await expire(self._redis, loaded, now_at)
        for customer, expiry in missing:
            if outcomes.get(customer) == "unknown":
                log.warning("reservation_of_nobody", reservation_id=str(keys.reservation_id_of(expiry.member)))
                await forget(self._redis, expiry)
        return sum(expiry.answer in {"ok", "apart"} for expiry in expiries)
