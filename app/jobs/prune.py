"""Forgets idempotency keys that nobody will repeat any more.

One that touched the ledger is not among them: the ledger's transactions name the key, but a key is unique by its route,
and of credit that core grants itself only the key's own row tells a repeat from another grant. What goes through the
stream has an order of its own id besides, a top-up its payment reference; a catalogue that is asked for the same again
has it, or says that it does.
"""

import asyncio
from datetime import datetime, timedelta
from functools import partial

from app.io.clock import Clock
from app.io.postgres import Database
from app.jobs.rounds import Pace, run_rounds
from app.trail.store import delete_old_keys

KEPT = timedelta(days=30)
LOOK_SECONDS = 600.0
KEYS_A_ROUND = 1_000
"""Of environments, and as many of operators."""


class KeyPruner:
    """Deletes what is old until told to stop. Several may run at once: none minds what another has deleted."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        """Look every LOOK_SECONDS, at once where there was more; a round that fails is tried again."""
        pace = Pace("idempotency_keys", LOOK_SECONDS, full_round=KEYS_A_ROUND)
        await run_rounds(lambda: self.round(self._clock.now()), pace, stop)

    async def round(self, now: datetime) -> int:
        """Delete some of those that are older than KEPT; how many, of the kind of which there were more."""
        work = partial(delete_old_keys, used_before=now - KEPT, limit=KEYS_A_ROUND)
        return await self._database.run(None, work)
