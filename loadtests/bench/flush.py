"""Flushing: the flusher, which makes a ledger of the streams, beside COPY of as many events."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from app.embedded.postgres import EmbeddedPostgres
from app.flusher.reading import BATCH_ENTRIES
from app.wire.agreement import Agreement
from loadtests.backlog import Backlog
from loadtests.catalogue import Catalogue
from loadtests.flushing import running_flusher, time_copy, time_flush, wait_for_cursors
from loadtests.ledger import check_ledger, check_totals, insert_customers
from loadtests.measuring import Comparison, Goal, Run, Side
from loadtests.stores import log_settings, running_postgres, running_valkey, sync_settings

PROGRAMS = ()
EVENTS_PER_SECOND = 12_500
"""How many events stand for a second of a run: a round posts a given number, however long that takes."""
GOALS = {100: Goal(least_rate_ratio=0.20), 10_000: Goal(least_rate_ratio=0.10)}
"""By number of accounts."""
MOST_ACCOUNTS = max(GOALS)
BLOCKS_EACH = 5


@contextmanager
def comparisons(directory: Path) -> Iterator[list[Comparison]]:
    """Few accounts that are used much, and many that are used little, in one ledger, which is proved at the end."""
    with ExitStack() as started:
        redis_url, redis = started.enter_context(running_valkey(directory))
        stores = Stores(started.enter_context(running_postgres(directory)), redis_url, directory)
        stores.begin()
        backlogs = {accounts: Backlog(redis, Catalogue(), accounts) for accounts in GOALS}
        for backlog in backlogs.values():
            asyncio.run(insert_customers(stores.owner_url, backlog.catalogue, backlog.end_user_ids))
            backlog.load_accounts()
        several = Backlog(redis, Catalogue(), MOST_ACCOUNTS)
        asyncio.run(insert_customers(stores.owner_url, several.catalogue, several.end_user_ids, BLOCKS_EACH))
        several.load_accounts()
        settings = f"Postgres with {asyncio.run(sync_settings(stores.owner_url))}, Valkey with {log_settings(redis)}"
        yield [
            Comparison(
                f"flush, {accounts:,} accounts",
                "events",
                "flusher, one process: deduplicated, drawn from blocks, chained, published",
                "asyncpg COPY of the same columns into a table without an index",
                f"transactions of {BATCH_ENTRIES:,} events on both sides; the flusher from its first lease to the end "
                f"of {Agreement().partitions} streams that were filled before; {settings}",
                stores.flush(backlogs[accounts]),
                stores.copy(backlogs[accounts].catalogue),
                goal,
            )
            for accounts, goal in GOALS.items()
        ] + [
            Comparison(
                f"flush, {MOST_ACCOUNTS:,} accounts of {BLOCKS_EACH} blocks",
                "events",
                f"flusher, one process, {BLOCKS_EACH} live blocks an account",
                "the same with one block an account",
                f"transactions of {BATCH_ENTRIES:,} events on both sides; {settings}",
                stores.flush(several),
                stores.flush(backlogs[MOST_ACCOUNTS]),
                Goal(least_rate_ratio=0.5),
            )
        ]
        asyncio.run(
            check_ledger(stores.owner_url, redis_url, sum(backlog.events for backlog in (*backlogs.values(), several)))
        )


class Stores:
    """A ledger and a Redis, and a flusher between them that runs only while it is timed."""

    def __init__(self, postgres: EmbeddedPostgres, redis_url: str, directory: Path) -> None:
        self._postgres = postgres
        self._redis_url = redis_url
        self._directory = directory
        self.owner_url = postgres.url_owner

    def begin(self) -> None:
        """Have the flusher look at the empty memory: what is put into it from now on, stays."""
        with running_flusher(self._postgres, self._redis_url, self._directory):
            asyncio.run(wait_for_cursors(self.owner_url, Agreement().partitions))

    def flush(self, backlog: Backlog) -> Side:
        """The flusher on a backlog that is made before it is started."""

        def run(seconds: int) -> Run:
            count = _events_in(seconds)
            backlog.accept(count)
            ends = backlog.ends()
            with running_flusher(self._postgres, self._redis_url, self._directory):
                flush_seconds = asyncio.run(time_flush(self.owner_url, ends))
            asyncio.run(check_totals(self.owner_url, backlog))
            return Run(count / flush_seconds)

        return run

    def copy(self, catalogue: Catalogue) -> Side:
        """COPY of rows that are made before."""

        def run(seconds: int) -> Run:
            count = _events_in(seconds)
            return Run(count / asyncio.run(time_copy(self.owner_url, catalogue, count)))

        return run


def _events_in(seconds: int) -> int:
    """Whole batches."""
    return max(1, round(seconds * EVENTS_PER_SECOND / BATCH_ENTRIES)) * BATCH_ENTRIES
