"""Forgets holders of gauges that ended long ago: every run of a customer may have been one."""

import asyncio
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog

from app.errors import ServiceError
from app.io.clock import Clock
from app.io.postgres import Database
from app.metering.store import delete_holds

log: Any = structlog.get_logger()
KEPT = timedelta(days=7)
"""Longer than any stream is kept: what is read again may be as old as its oldest entry."""
LOOK_SECONDS = 600.0
HOLDS_A_ROUND = 1_000


class HoldSweeper:
    """Deletes what is over until told to stop. Several may run at once: each takes others."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        """Look every LOOK_SECONDS, at once where there was more; a round that fails is tried again."""
        while not stop.is_set():
            try:
                more = await self.round(self._clock.now()) == HOLDS_A_ROUND
            except ServiceError as error:
                log.warning("holds_not_swept", error=str(error))
                more = False
            try:
                await asyncio.wait_for(stop.wait(), 0 if more else LOOK_SECONDS)
            except TimeoutError:
                continue

    async def round(self, now: datetime) -> int:
        """Delete some of those that ended long before `now`; how many."""
        work = partial(delete_holds, ended_before=now - KEPT, limit=HOLDS_A_ROUND)
        return await self._database.run(None, work)
