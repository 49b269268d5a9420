"""What attempts came to is written down together: whatever ends while one transaction runs goes into the next."""

import asyncio
from functools import partial
from typing import Any

import structlog

from app.errors import ServiceError
from app.io.clock import Clock
from app.io.postgres import Database
from app.webhooks.recording import Outcome, record
from app.webhooks.sending import Head

log: Any = structlog.get_logger()
OUTCOMES_AT_ONCE = 500
REST_SECONDS = 0.5
"""Between tries while Postgres is away. Leases may run out meanwhile: then attempts are made again."""
Waiting = tuple[Outcome, "asyncio.Future[Head | None]"]


class Recorder:
    """Takes outcomes from many tasks; `run` writes them until it is cancelled."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._waiting: list[Waiting] = []
        self._wake = asyncio.Event()

    async def record(self, outcome: Outcome) -> Head | None:
        """Write an outcome down; what comes next in the queue, if this process goes on with it."""
        written: asyncio.Future[Head | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((outcome, written))
        self._wake.set()
        return await written

    async def run(self) -> None:
        """Write what comes, in its order, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                batch = self._waiting[:OUTCOMES_AT_ONCE]
                del self._waiting[:OUTCOMES_AT_ONCE]
                await self._write(batch)

    async def _write(self, batch: list[Waiting]) -> None:
        outcomes = [outcome for outcome, _ in batch]
        is_told = False
        while True:
            try:
                heads = await self._database.run(None, partial(record, outcomes=outcomes, now=self._clock.now()))
                break
            except ServiceError as error:
                if not is_told:
                    log.warning("attempts_not_recorded", count=len(batch), error=str(error))
                is_told = True
                await asyncio.sleep(REST_SECONDS)
        for outcome, written in batch:
            if not written.done():
                written.set_result(heads.get(outcome.head.queue))
