"""Forgets holders of gauges that ended long ago: every run of a customer may have been one."""

import asyncio
from datetime import datetime, timedelta
from functools import partial

from app.io.clock import Clock
from app.io.postgres import Database
from app.jobs.rounds import Pace, run_rounds
from app.metering.store import delete_holds

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
        pace = Pace("holds", LOOK_SECONDS, full_round=HOLDS_A_ROUND)
        await run_rounds(lambda: self.round(self._clock.now()), pace, stop)

    async def round(self, now: datetime) -> int:
        """Delete some of those that ended long before `now`; how many."""
        work = partial(delete_holds, ended_before=now - KEPT, limit=HOLDS_A_ROUND)
        return await self._database.run(None, work)
