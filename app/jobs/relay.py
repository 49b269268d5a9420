"""What happened gets its place in the feed of its environment, and into the queues of those who want to hear of it.

One process at a time does so, a batch a transaction: an event with a place is in every queue that it belongs into, and
who has read a feed up to a place misses nothing before it.
"""

import asyncio
from datetime import datetime
from functools import partial

from app.io.clock import Clock
from app.io.postgres import Database
from app.jobs.rounds import Pace, run_rounds
from app.webhooks.relaying import relay

LOOK_SECONDS = 0.1
"""How often new events are looked for."""


class Relay:
    """Places events until told to stop. Where several run, one of them works."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        """Look every LOOK_SECONDS, at once where there was more; a round that fails is tried again."""
        await run_rounds(lambda: self.round(self._clock.now()), Pace("events", LOOK_SECONDS), stop)

    async def round(self, now: datetime) -> bool:
        """Place some events; whether there may be more."""
        return await self._database.run(None, partial(relay, now=now))
