"""A checkpoint of each environment's ledger on each UTC day, as soon as the day has begun."""

import asyncio

from app.io.clock import Clock
from app.io.postgres import Database
from app.jobs.rounds import Pace, run_rounds
from app.ledger import checkpoints

LOOK_SECONDS = 60.0
"""How often environments without a checkpoint of the day are looked for."""
CHECKPOINTS_A_ROUND = 100


class Checkpointer:
    """Takes what is due until told to stop. Several may run at once: the later of two writes nothing."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        """Look every LOOK_SECONDS, at once where there was more; a round that fails is tried again."""
        await run_rounds(self.round, Pace("checkpoints", LOOK_SECONDS, full_round=CHECKPOINTS_A_ROUND), stop)

    async def round(self) -> int:
        """Take the checkpoints of this day that are not there yet, some at most; how many were taken.

        A day on which nothing ran has none: the next checkpoint covers what happened meanwhile.
        """
        taken = 0
        for environment_id in await checkpoints.list_due(self._database, self._clock.now(), CHECKPOINTS_A_ROUND):
            taken += await checkpoints.take(self._database, environment_id, self._clock.now())
        return taken
