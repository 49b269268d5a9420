"""Verifying: `quotastack ledger verify` on a ledger that grows, beside reading the same rows and nothing more."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import asyncpg

from app.ledger.evidence import PAGE_ROWS
from app.ledger.verify import verify
from loadtests.backlog import Backlog
from loadtests.bench.flush import EVENTS_PER_SECOND, Stores
from loadtests.catalogue import Catalogue
from loadtests.ledger import check_totals, insert_customers
from loadtests.measuring import Comparison, Run, Side, WrongResult
from loadtests.stores import running_postgres, running_valkey

PROGRAMS = ()
ACCOUNTS = 1_000
EVENTS = (100_000, 300_000, 1_000_000)
"""What the ledger grows to, one after the other: a rate that stays says that the time is linear."""
FILL_SECONDS = 4
"""What is posted at once, in the flusher's seconds: the streams keep it all for a while, and Valkey is memory."""
TABLES = ("accounts", "credit_blocks", "ledger_transactions", "ledger_lines", "usage_events")
MICROSECONDS = 1_000_000


@contextmanager
def comparisons(directory: Path) -> Iterator[list[Comparison]]:
    """One ledger, made by the flusher, that a comparison fills up before its first run."""
    with ExitStack() as started:
        redis_url, redis = started.enter_context(running_valkey(directory))
        stores = Stores(started.enter_context(running_postgres(directory)), redis_url, directory)
        stores.begin()
        ledger = GrowingLedger(stores, Backlog(redis, Catalogue(), ACCOUNTS))
        yield [
            Comparison(
                f"verify, {events:,} events",
                "events",
                "quotastack ledger verify, without the edge: one process",
                "asyncpg, SELECT * of the same five tables, a page at a time",
                f"one ledger of {ACCOUNTS:,} accounts, posted by the flusher; a run is the whole ledger, and its "
                "duration stands where others have a latency",
                ledger.verify(events),
                ledger.read(events),
            )
            for events in EVENTS
        ]


class GrowingLedger:
    """A ledger that has as many events as was asked for last."""

    def __init__(self, stores: Stores, backlog: Backlog) -> None:
        self._stores = stores
        self._backlog = backlog
        asyncio.run(insert_customers(stores.owner_url, backlog.catalogue, backlog.end_user_ids))
        backlog.load_accounts()

    def verify(self, events: int) -> Side:
        """The whole ledger, proved. The rounds' seconds do not count."""

        def run(_seconds: int) -> Run:
            self._fill(events)
            started = time.monotonic()
            report = asyncio.run(verify(self._stores.owner_url, None, None, None))
            seconds = time.monotonic() - started
            if report.findings or report.counts["events"] != events:
                raise WrongResult(f"{report.counts['events']} of {events} events, {report.finding_count} findings")
            return Run(events / seconds, seconds * MICROSECONDS)

        return run

    def read(self, events: int) -> Side:
        """The whole ledger, read."""

        def run(_seconds: int) -> Run:
            self._fill(events)
            started = time.monotonic()
            asyncio.run(_read_all(self._stores.owner_url))
            seconds = time.monotonic() - started
            return Run(events / seconds, seconds * MICROSECONDS)

        return run

    def _fill(self, events: int) -> None:
        flush = self._stores.flush(self._backlog)
        while self._backlog.events < events:
            flush(min(FILL_SECONDS, (events - self._backlog.events) // EVENTS_PER_SECOND))
        asyncio.run(check_totals(self._stores.owner_url, self._backlog))


async def _read_all(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            for table in TABLES:
                cursor = await connection.cursor(f"SELECT * FROM {table}")  # noqa: S608 - our own names
                while await cursor.fetch(PAGE_ROWS):
                    pass
    finally:
        await connection.close()
