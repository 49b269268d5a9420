"""What was told long ago is forgotten, in small steps."""

import asyncio
from datetime import datetime
from functools import partial
from uuid import UUID

from app.io.clock import Clock
from app.io.postgres import Database
from app.jobs.rounds import Pace, run_rounds
from app.webhooks import pruning

LOOK_SECONDS = 600.0
ENVIRONMENTS = 1_000
"""That are listed at once."""
NOBODY = UUID(int=0)


class Forgetter:
    """Goes through all environments until told to stop. Several may run at once: each takes other rows."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        """Look every LOOK_SECONDS; a round that fails is tried again."""
        await run_rounds(partial(self.round, stop), Pace("forgetting", LOOK_SECONDS), stop)

    async def round(self, stop: asyncio.Event) -> None:
        """Forget all that is old now."""
        now, after = self._clock.now(), NOBODY
        while not stop.is_set():
            page = await self._database.run(None, partial(pruning.list_environments, after=after, limit=ENVIRONMENTS))
            for environment_id in page:
                await self._forget(environment_id, now, stop)
            if len(page) < ENVIRONMENTS:
                return
            after = page[-1]

    async def _forget(self, environment_id: UUID, now: datetime, stop: asyncio.Event) -> None:
        work = partial(pruning.forget, environment_id=environment_id, now=now)
        while not stop.is_set() and await self._database.run(None, work):
            pass
