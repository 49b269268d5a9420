"""Reservations that are past due end where nobody meets them: the sweep runs the same script as the edges do."""

import asyncio
from collections import Counter
from typing import Any

import structlog

from app.entitlements.loading import Outcome, load_account
from app.errors import ServiceError
from app.io.clock import Clock
from app.io.postgres import Database
from app.io.redis import RedisStore, RedisUnavailable
from app.io.reservations import Expiry, expire, forget, list_due
from app.rules.moments import to_at
from app.wire import keys

log: Any = structlog.get_logger()
SWEEP_SECONDS = 1.0
"""How often reservations that are past due are looked for; `held.EXPIRY_LAG_SECONDS` is the promise that follows."""
PAGE = 200
"""Of one partition at a time."""
LOADS_AT_ONCE = 4
"""Accounts that are not loaded are brought into Redis first; as many at a time as there are connections."""


class Sweeper:
    """Looks for reservations that are past due until told to stop. Several may run at once: the first end counts."""

    def __init__(self, database: Database, redis: RedisStore, clock: Clock) -> None:
        self._database = database
        self._redis = redis
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        """A round every SWEEP_SECONDS; one that fails is tried again."""
        while not stop.is_set():
            try:
                await self.round(stop)
            except* (RedisUnavailable, ServiceError) as errors:
                for error in errors.exceptions:
                    log.warning("sweep_failed", error=str(error), kind=type(error).__name__)
            try:
                await asyncio.wait_for(stop.wait(), SWEEP_SECONDS)
            except TimeoutError:
                continue

    async def round(self, stop: asyncio.Event) -> int:
        """Expire what is past due now, in pages; how many were.

        Ends early when told to stop, and where a page brings nothing on: an account that cannot be loaded has its turn
        in the next round.
        """
        now_at, count = to_at(self._clock.now()), 0
        partitions = list(range(self._redis.agreement.partitions))
        while not stop.is_set() and (due := await list_due(self._redis, partitions, now_at, PAGE)):
            ended = await self._expire(due, now_at)
            count += ended
            sizes = Counter(partition for partition, _ in due)
            partitions = [partition for partition, size in sizes.items() if size == PAGE]
            if not ended or not partitions:
                break
        return count

    async def _expire(self, due: list[tuple[int, bytes]], now_at: int) -> int:
        """Expire a page; how many have ended by it."""
        expiries = await expire(self._redis, due, now_at)
        loaded = await self._load([expiry for expiry in expiries if expiry.answer == "miss"])
        if loaded:
            expiries += await expire(self._redis, [(expiry.partition, expiry.member) for expiry in loaded], now_at)
        return sum(expiry.answer == "ok" for expiry in expiries)

    async def _load(self, missing: list[Expiry]) -> list[Expiry]:
        """Bring accounts into Redis, with their reservations; those that are there now."""
        loaded, busy = list[Expiry](), set[int]()
        for start in range(0, len(missing), LOADS_AT_ONCE):
            group = [one for one in missing[start : start + LOADS_AT_ONCE] if one.partition not in busy]
            outcomes = await asyncio.gather(*(self._load_account(expiry.ref) for expiry in group))
            for expiry, outcome in zip(group, outcomes, strict=True):
                if outcome == "loaded":
                    loaded.append(expiry)
                elif outcome == "unknown":
                    log.warning("reservation_of_nobody", reservation_id=str(keys.reservation_id_of(expiry.member)))
                    await forget(self._redis, expiry)
                elif outcome == "busy":  # the flusher is behind there: the rest of that partition has its turn later
                    busy.add(expiry.partition)
        return loaded

    async def _load_account(self, ref: bytes) -> Outcome:
        return await load_account(self._database, self._redis, *keys.parse_account_ref(ref))
