"""Renewals: subscriptions whose months end together, beside a job of one's own in plain SQL."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from app.embedded.postgres import EmbeddedPostgres
from app.flusher.reading import BATCH_ENTRIES
from app.wire.agreement import Agreement
from loadtests.flushing import running_flusher, time_flush, wait_for_cursors
from loadtests.ledger import check_ledger
from loadtests.measuring import Comparison, Goal, Run
from loadtests.renewing import time_plain_sql, time_renewals
from loadtests.stores import log_settings, running_postgres, running_valkey, sync_settings
from loadtests.subscribers import WITHIN, Subscribers

PROGRAMS = ()
SUBSCRIPTIONS_PER_SECOND = 25_000
"""How many subscriptions stand for a second of a run: a round renews a given number, however long that takes."""
GOAL = Goal(least_rate=1_000)


@contextmanager
def comparisons(directory: Path) -> Iterator[list[Comparison]]:
    """One ledger, in which a month passes with every run; it is proved at the end."""
    with ExitStack() as started:
        redis_url, redis = started.enter_context(running_valkey(directory))
        postgres = started.enter_context(running_postgres(directory))
        renewals = Renewals(postgres, redis_url, redis, directory)
        settings = f"Postgres with {asyncio.run(sync_settings(postgres.url_owner))}, Valkey with {log_settings(redis)}"
        yield [
            Comparison(
                "renewals, all due within a minute",
                "subscriptions",
                "ticks of jobs, and one flusher: period, old grant, new grant, history, announcements, published",
                "a job of one's own, one UPDATE and one INSERT for each: period, balance, grant",
                f"{SUBSCRIPTIONS_PER_SECOND:,} subscriptions for a second of a run, postpaid, whose months end within "
                f"{WITHIN.seconds} seconds, the same ones in every run; from the first tick to the last posting; "
                f"transactions of {BATCH_ENTRIES:,} on both sides; {settings}",
                renewals.renew,
                renewals.renew_plainly,
                GOAL,
            )
        ]
        asyncio.run(check_ledger(postgres.url_owner, redis_url, 0))


class Renewals:
    """Subscribers as many as were asked for last, who are renewed with each run."""

    def __init__(self, postgres: EmbeddedPostgres, redis_url: str, redis: Any, directory: Path) -> None:  # noqa: ANN401 - redis-py types little
        self._postgres = postgres
        self._redis_url = redis_url
        self._directory = directory
        with running_flusher(postgres, redis_url, directory):
            asyncio.run(wait_for_cursors(postgres.url_owner, Agreement().partitions))
        self._subscribers = Subscribers(postgres.url_owner, redis)

    def renew(self, seconds: int) -> Run:
        """As many as stand for so many seconds."""
        return self.renew_all(seconds * SUBSCRIPTIONS_PER_SECOND)

    def renew_all(self, count: int) -> Run:
        """Let there be so many at least, and let a month pass for all of them."""
        subscribers = self._subscribers
        self._subscribe(count - subscribers.count)
        until = subscribers.pass_month()
        urls = self._postgres.url_owner, self._postgres.url("quotastack_jobs"), self._redis_url
        with running_flusher(self._postgres, self._redis_url, self._directory):
            renewal_seconds = asyncio.run(time_renewals(*urls, until))
        subscribers.check()
        return Run(subscribers.count / renewal_seconds)

    def renew_plainly(self, seconds: int) -> Run:
        """As many rows in tables of one's own."""
        count = seconds * SUBSCRIPTIONS_PER_SECOND
        return Run(count / asyncio.run(time_plain_sql(self._postgres.url_owner, count)))

    def _subscribe(self, count: int) -> None:
        if count <= 0:
            return
        ends = self._subscribers.order_more(count)
        with running_flusher(self._postgres, self._redis_url, self._directory):
            asyncio.run(time_flush(self._postgres.url_owner, ends))
        self._subscribers.check()
