"""Webhooks: what jobs deliver, in order and signed, while some endpoints are slow or hang, and how late it comes."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from app.embedded.postgres import EmbeddedPostgres
from app.io.postgres import Database
from loadtests.measuring import Comparison, Goal, Measure, Run
from loadtests.notifying import (
    BAD_EVERY,
    CUSTOMERS,
    Tenants,
    check,
    rate,
    running_jobs,
    send_plainly,
    wait_for_healthy,
)
from loadtests.receiver import Received
from loadtests.receiving import RunningReceiver, running_receiver
from loadtests.stores import running_postgres, running_valkey, sync_settings

PROGRAMS = ()
ENDPOINTS = 1_000
EVENTS_PER_SECOND = 5_000
"""How many events stand for a second of a run: a round delivers a given number, however long that takes."""
LAG_SECONDS, LAG_EVENTS_PER_SECOND, TICKS_PER_SECOND = 20, 200, 10
LEAST_RATE, LEAST_RATIO, MOST_LAG_RATIO = 500, 0.8, 1.5
BAD = f"one endpoint of {BAD_EVERY} slow (2 s) or hanging"


@contextmanager
def comparisons(directory: Path) -> Iterator[list[Comparison]]:
    """The same endpoints in every run. Events are there before the jobs start, and what is left over is thrown away."""
    with running_webhooks(directory, ENDPOINTS) as webhooks:
        what = (
            f"{EVENTS_PER_SECOND:,} events for a second of a run, of {ENDPOINTS:,} tenants with an endpoint and "
            f"{CUSTOMERS} customers each; from the first to the last delivery at healthy endpoints, each event once, "
            f"in order per customer, its signature checked; {asyncio.run(sync_settings(webhooks.owner_url))}"
        )
        jobs = "jobs, one process: places, queues, signatures, attempts written down"
        yield [
            Comparison(
                "webhooks, all endpoints healthy",
                "deliveries",
                jobs,
                "a loop of one's own: rows, aiohttp, gather, UPDATE; no order, no signature, no guard, no log",
                what,
                webhooks.healthy,
                webhooks.plainly,
                Goal(least_rate=LEAST_RATE),
            ),
            Comparison(
                f"webhooks, {BAD}",
                "deliveries",
                jobs,
                "the same with all of them healthy",
                what,
                webhooks.troubled,
                webhooks.healthy,
                Goal(least_rate=LEAST_RATE, least_rate_ratio=LEAST_RATIO),
            ),
        ]


def measures(directory: Path) -> list[Measure]:
    """How late events come to healthy endpoints while they happen at a steady pace.

    Without bad endpoints, twice beside them, and without again: what disturbs the machine for a while disturbs both.
    """
    lags: dict[bool, list[float]] = {False: [], True: []}
    with running_webhooks(directory, ENDPOINTS) as webhooks:
        for badly in (False, True, True, False):
            lags[badly] += webhooks.lags_ms(LAG_SECONDS, LAG_EVENTS_PER_SECOND, badly=badly)
    alone, beside = lags[False], lags[True]
    what = f"{LAG_EVENTS_PER_SECOND} events a second at {ENDPOINTS:,} endpoints, from their timestamp to the receiver"
    return [
        Measure("webhook lag, p50", "ms", percentile(alone, 50), what),
        Measure("webhook lag, p99", "ms", percentile(alone, 99), what),
        Measure("webhook lag beside bad endpoints, p50", "ms", percentile(beside, 50), f"the same, {BAD}"),
        Measure("webhook lag beside bad endpoints, p99", "ms", percentile(beside, 99), f"the same, {BAD}"),
        Measure(
            "webhook lag, p99 beside bad endpoints to p99 without",
            "ratio",
            percentile(beside, 99) / percentile(alone, 99),
            "the two above",
            MOST_LAG_RATIO,
        ),
    ]


def percentile(values: list[float], percent: int) -> float:
    """The value below which so many of them lie."""
    return sorted(values)[len(values) * percent // 100]


class Webhooks:
    """Tenants, and a receiver that stands for all of their endpoints."""

    def __init__(
        self, postgres: EmbeddedPostgres, redis_url: str, receiver: RunningReceiver, directory: Path, endpoints: int
    ) -> None:
        self.owner_url = postgres.url_owner
        self._postgres, self._redis_url, self._directory = postgres, redis_url, directory
        self._receiver = receiver
        self._tenants = Tenants(postgres, receiver, endpoints)
        self._endpoints = endpoints

    def healthy(self, seconds: int) -> Run:
        """What stands for so many seconds, with all endpoints well."""
        return self.deliver(seconds * EVENTS_PER_SECOND, badly=False)

    def troubled(self, seconds: int) -> Run:
        """The same with the bad ones behaving badly."""
        return self.deliver(seconds * EVENTS_PER_SECOND, badly=True)

    def deliver(self, count: int, *, badly: bool) -> Run:
        """Have so many events delivered that are there already."""
        self._tenants.behave(badly=badly)
        since, healthy = self._tenants.received, self._tenants.healthy_of(count)
        asyncio.run(self._happen([count], 0))
        with running_jobs(self._postgres, self._redis_url, self._directory):
            received = wait_for_healthy(self._tenants, self._receiver, since, healthy)
        asyncio.run(self._tenants.forget())
        check(received, healthy)
        return Run(rate(received))

    def plainly(self, seconds: int) -> Run:
        """As many with the loop of one's own."""
        return self.deliver_plainly(seconds * EVENTS_PER_SECOND)

    def deliver_plainly(self, count: int) -> Run:
        """Have the loop send so many."""
        since = self._tenants.received
        asyncio.run(send_plainly(self.owner_url, self._receiver, count, self._endpoints))
        return Run(rate(self._receiver.received(since=since)))

    def lags_ms(self, seconds: int, events_per_second: int, *, badly: bool) -> list[float]:
        """Milliseconds that each event took to its healthy endpoint while they happened at that pace."""
        self._tenants.behave(badly=badly)
        since, count = self._tenants.received, seconds * events_per_second
        healthy = self._tenants.healthy_of(count)
        with running_jobs(self._postgres, self._redis_url, self._directory):
            ticks = [events_per_second // TICKS_PER_SECOND] * (seconds * TICKS_PER_SECOND)
            asyncio.run(self._happen(ticks, 1 / TICKS_PER_SECOND))
            received = wait_for_healthy(self._tenants, self._receiver, since, healthy)
        asyncio.run(self._tenants.forget())
        check(received, healthy)
        return [_lag_ms(each) for each in _settled(received)]

    async def _happen(self, counts: list[int], every_seconds: float) -> None:
        database = await Database.open(self.owner_url, "bench", max_size=1, work_seconds=None)
        began_at = time.monotonic()
        try:
            for number, count in enumerate(counts):
                await asyncio.sleep(max(0.0, began_at + number * every_seconds - time.monotonic()))
                await self._tenants.happen(database, count)
        finally:
            await database.close()


def _lag_ms(received: Received) -> float:
    return (received.at - received.told_at) / 1_000


def _settled(received: list[Received]) -> list[Received]:
    """Those of the later half: at first the jobs are only just starting, and have not met the bad endpoints."""
    told = sorted(received, key=lambda each: each.told_at)
    return told[len(told) // 2 :]


@contextmanager
def running_webhooks(directory: Path, endpoints: int) -> Iterator[Webhooks]:
    """Servers, a receiver, and so many endpoints at it; the jobs are started for each run."""
    directory.mkdir(exist_ok=True)
    with ExitStack() as started:
        redis_url, _ = started.enter_context(running_valkey(directory))
        postgres = started.enter_context(running_postgres(directory))
        receiver = started.enter_context(running_receiver(directory))
        yield Webhooks(postgres, redis_url, receiver, directory, endpoints)
