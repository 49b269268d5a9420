"""How much waits to be told, as figures for whoever is woken by them."""

import asyncio
from datetime import datetime

from app.io import metrics
from app.io.clock import Clock
from app.io.postgres import Database
from app.jobs.rounds import Pace, run_rounds
from app.webhooks.store import read_backlog

LOOK_SECONDS = 15.0
_UNPLACED = metrics.gauge("quotastack_events_unplaced", "Events that have no place in their feed yet")
_WAITING = metrics.gauge(
    "quotastack_webhook_deliveries_waiting", "Deliveries that wait, those of disabled endpoints too"
)
_OLDEST = metrics.gauge(
    "quotastack_webhook_oldest_due_seconds", "For how long the oldest delivery to an endpoint that answers is due"
)


class BacklogWatch:
    """Looks until told to stop."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        """Look every LOOK_SECONDS; a round that fails is tried again."""
        await run_rounds(lambda: self.round(self._clock.now()), Pace("backlog", LOOK_SECONDS), stop)

    async def round(self, now: datetime) -> None:
        """Look once."""
        backlog = await self._database.run(None, read_backlog)
        _UNPLACED.set(backlog.unplaced)
        _WAITING.set(backlog.waiting)
        due_for = 0.0 if backlog.due_since is None else (now - backlog.due_since).total_seconds()
        _OLDEST.set(max(0.0, due_for))
