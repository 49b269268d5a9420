"""What tenants want to be sent once more is queued, step by step."""

import asyncio
from datetime import datetime
from functools import partial

from app.io.clock import Clock
from app.io.postgres import Database
from app.jobs.rounds import Pace, run_rounds
from app.webhooks.replaying import step

LOOK_SECONDS = 0.5


class Replays:
    """Queues what is asked for until told to stop. Several may run at once: each takes another."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        """Look every LOOK_SECONDS, at once where there was something; a round that fails is tried again."""
        await run_rounds(lambda: self.round(self._clock.now()), Pace("replays", LOOK_SECONDS), stop)

    async def round(self, now: datetime) -> bool:
        """Queue some; whether there may be more."""
        return await self._database.run(None, partial(step, now=now))
