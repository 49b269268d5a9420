"""Renewals as they happen: the jobs leave ticks for what is due, a flusher posts it. And as many in plain SQL."""

import asyncio
import time
from datetime import datetime

import asyncpg

from app.flusher.reading import BATCH_ENTRIES
from app.io.clock import Clock
from app.io.postgres import Database
from app.io.redis import RedisStore
from app.jobs.tick import Ticker
from app.wire.agreement import Agreement
from loadtests.flushing import wait_for_leases, wait_until
from loadtests.measuring import WrongResult
from loadtests.subscribers import GRANT_MICRO


class StoppedClock(Clock):
    """Says one moment."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        """The moment."""
        return self._now


async def time_renewals(owner_url: str, jobs_url: str, redis_url: str, until: datetime) -> float:
    """Seconds from the first look for accounts that are due `until` then, to the last one that is posted.

    A flusher has to run. The ticks are left from this process, as jobs leave them from theirs.
    """
    stop = asyncio.Event()
    connection = await asyncpg.connect(owner_url)
    database = await Database.open(jobs_url, "bench", max_size=1, work_seconds=None)
    redis = await RedisStore.connect(redis_url, Agreement())

    async def is_done() -> bool:
        return not await connection.fetchval("SELECT EXISTS (SELECT FROM accounts WHERE valid_until <= $1)", until)

    try:
        await wait_for_leases(connection)
        started = time.monotonic()
        async with asyncio.TaskGroup() as group:
            group.create_task(Ticker(database, redis, StoppedClock(until)).run(stop))
            await wait_until(is_done, "all that is due to be posted")
            seconds = time.monotonic() - started
            stop.set()
        return seconds
    finally:
        await redis.close()
        await database.close()
        await connection.close()


async def time_plain_sql(owner_url: str, count: int) -> float:
    """Seconds for a job of one's own: a new period and balance for each subscription, and a row of its grant.

    Raises WrongResult.
    """
    connection = await asyncpg.connect(owner_url)
    try:
        await connection.execute(_PLAIN_TABLES)
        await connection.execute(_PLAIN_SUBSCRIPTIONS, count)
        started = time.monotonic()
        for start in range(0, count, BATCH_ENTRIES):
            await connection.execute(_PLAIN_RENEWALS, start, start + BATCH_ENTRIES, GRANT_MICRO)
        seconds = time.monotonic() - started
        renewed = await connection.fetchval("SELECT count(*) FROM plain_grants")
    finally:
        await connection.close()
    if renewed != count:
        raise WrongResult(f"{renewed} subscriptions were renewed in plain SQL, not {count}")
    return seconds


_PLAIN_TABLES = """
DROP TABLE IF EXISTS plain_subscriptions, plain_grants;
CREATE TABLE plain_subscriptions (id integer PRIMARY KEY, period_end_at timestamptz, balance_micro bigint);
CREATE TABLE plain_grants (subscription_id integer, at timestamptz, amount_micro bigint);
"""
_PLAIN_SUBSCRIPTIONS = (
    "INSERT INTO plain_subscriptions SELECT number, now(), 0 FROM generate_series(0, $1::integer - 1) AS number"
)
_PLAIN_RENEWALS = """
WITH renewed AS (
    UPDATE plain_subscriptions SET period_end_at = period_end_at + interval '1 month', balance_micro = $3
    WHERE id >= $1 AND id < $2
    RETURNING id, period_end_at
)
INSERT INTO plain_grants SELECT id, period_end_at, $3 FROM renewed
"""
