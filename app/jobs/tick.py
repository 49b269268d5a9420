"""Ticks for what falls due at accounts that nobody touches, so that the flusher posts it."""

import asyncio
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from app.entitlements.loading import load_account
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
TICKS_A_ROUND = 1_000


class Ticker:
    """Looks for due accounts until told to stop. Several may run at once: a tick too many does nothing."""

    def __init__(self, database: Database, redis: RedisStore, clock: Clock) -> None:
        self._database = database
        self._redis = redis
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        """Tick every TICK_SECONDS; a round that fails is tried again."""
        while not stop.is_set():
            try:
                await self.round()
            except (RedisUnavailable, ServiceError) as error:
                log.warning("round_failed", error=str(error), kind=type(error).__name__)
            try:
                await asyncio.wait_for(stop.wait(), TICK_SECONDS)
            except TimeoutError:
                continue

    async def round(self) -> int:
        """One tick for every account that is due now; the number of accounts."""
        now = self._clock.now()

        async def read(tx: Transaction) -> list[tuple[UUID, str]]:
            rows = await tx.connection.fetch(_SQL["list_due_accounts"], now, TICKS_A_ROUND)
            return [(row["environment_id"], row["end_user_id"]) for row in rows]

        due = await self._database.run(None, read)
        for environment_id, end_user_id in due:
            await self._tick(environment_id, end_user_id, now)
        return len(due)

    async def _tick(self, environment_id: UUID, end_user_id: str, now: datetime) -> None:
        ref = keys.account_ref(keys.environment_ref(environment_id), end_user_id)
        if await self._redis.tick(ref, to_at(now)) != "miss":
            return
        outcome = await load_account(self._database, self._redis, environment_id, end_user_id)
        if outcome == "loaded":
            await self._redis.tick(ref, to_at(now))
