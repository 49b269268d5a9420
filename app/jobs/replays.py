"""What tenants want to be sent once more is queued, step by step."""

import asyncio
from datetime import datetime
from functools import partial
from uuid import UUID

from app.io.clock import Clock
from app.io.postgres import Database
from app.jobs.rounds import Pace, run_rounds
from app.webhooks.replaying import step

LOOK_SECONDS = 0.5


class Replays:
    """Queues what is asked for until told to stop. Several may run at once: each takes another.

    Environments have their turns one after the other, however much one of them asks for.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._latest = UUID(int=0)
        """The environment that had its turn."""

    async def run(self, stop: asyncio.Event) -> None:
        """Look every LOOK_SECONDS, at once where there was something; a round that fails is tried again."""
        await run_rounds(lambda: self.round(self._clock.now()), Pace("replays", LOOK_SECONDS), stop)

    async def round(self, now: datetime) -> bool:
        """Queue some; whether there may be more."""
        environment_id = await self._database.run(None, partial(step, after=self._latest, now=now))
        self._latest = environment_id or self._latest
        return environment_id is not None
