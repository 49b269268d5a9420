"""A partition for the usage events of each month, before its first event comes."""

import asyncio
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog

from app.io.clock import Clock
from app.io.postgres import Database
from app.jobs.rounds import Pace, run_rounds
from app.ledger.store import make_usage_partitions

log: Any = structlog.get_logger()
PARTITIONS_AHEAD = 3
"""Months beyond the present one that have their partition. The flusher makes one itself where it has to."""
ROUND_SECONDS = 3600.0
PAUSE_SECONDS = 60.0
"""Rest after a round that failed."""
_MONTHS = 12


class PartitionMaker:
    """Keeps partitions ahead until told to stop. Several may run at once: what is there is left alone."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        """Look every ROUND_SECONDS; a round that fails is tried again."""
        pace = Pace("partitions", ROUND_SECONDS, rest_after_failure_seconds=PAUSE_SECONDS)
        await run_rounds(lambda: self.round(self._clock.now()), pace, stop)

    async def round(self, now: datetime) -> int:
        """Make what is missing of the month of `now` and PARTITIONS_AHEAD more; how many that were."""
        months = [_month(now, ahead) for ahead in range(PARTITIONS_AHEAD + 1)]
        made = await self._database.run(None, partial(make_usage_partitions, moments=months))
        if made:
            log.info("partitions_made", count=made, until=months[-1].isoformat())
        return made


def _month(now: datetime, ahead: int) -> datetime:
    """The first moment (UTC) of the month that is so many after the one of `now`."""
    present = now.astimezone(UTC)
    years, month = divmod(present.month - 1 + ahead, _MONTHS)
    return datetime(present.year + years, month + 1, 1, tzinfo=UTC)
