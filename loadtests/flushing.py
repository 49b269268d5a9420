"""A real flusher process on a backlog, timed from outside; and COPY of as many events."""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import asyncpg

from app.embedded.postgres import EmbeddedPostgres
from app.flusher.reading import BATCH_ENTRIES
from app.rules.credits import MICRO
from loadtests.accepting import KEY_PREFIX
from loadtests.catalogue import COST_MICRO, FEATURE, Catalogue
from loadtests.measuring import WrongResult
from loadtests.servers import running

PATIENCE_SECONDS = 120
POLL_SECONDS = 0.005
COPIED = "copied_events"


@contextmanager
def running_flusher(postgres: EmbeddedPostgres, redis_url: str, directory: Path) -> Iterator[None]:
    """One flusher that owns every partition. At the end it has published all that it posted. Raises WrongResult."""
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "FLUSHER_DATABASE_URL": postgres.url("quotastack_flusher"),
        "REDIS_URL": redis_url,
    }
    with running([sys.executable, "-m", "app.flusher"], environment, directory / "flusher.log") as process:
        yield
    if process.status:
        raise WrongResult(f"the flusher ended with {process.status}")


async def wait_for_cursors(database_url: str, partitions: int) -> None:
    """Wait until a flusher has looked at every partition: what is put into them from then on stays."""
    connection = await asyncpg.connect(database_url)
    try:

        async def are_there() -> bool:
            return await connection.fetchval("SELECT count(*) FROM stream_cursors") == partitions

        await wait_until(are_there, "the flusher to look at its partitions")
    finally:
        await connection.close()


async def wait_for_leases(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Wait until a flusher is at work."""

    async def has_leases() -> bool:
        return await connection.fetchval("SELECT bool_or(lease_until > clock_timestamp()) FROM partition_leases")

    await wait_until(has_leases, "the flusher to take its leases")


async def time_flush(database_url: str, ends: dict[int, str]) -> float:
    """Seconds from the flusher's first lease to its last cursor; `ends` are the ids where cursors have to arrive."""
    connection = await asyncpg.connect(database_url)
    try:

        async def is_done() -> bool:
            rows = await connection.fetch("SELECT partition, last_id FROM stream_cursors")
            return ends.items() <= {(row["partition"], row["last_id"]) for row in rows}

        await wait_for_leases(connection)
        started = time.monotonic()
        await wait_until(is_done, "the cursors to arrive at the end of the streams")
        return time.monotonic() - started
    finally:
        await connection.close()


async def time_copy(database_url: str, catalogue: Catalogue, count: int) -> float:
    """Seconds for so many events into an empty table, in transactions as large as the flusher's. Raises WrongResult."""
    records = _records(catalogue, count)
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(f"DROP TABLE IF EXISTS {COPIED}")
        await connection.execute(f"CREATE TABLE {COPIED} (LIKE usage_events)")
        started = time.monotonic()
        for start in range(0, count, BATCH_ENTRIES):
            await connection.copy_records_to_table(COPIED, records=records[start : start + BATCH_ENTRIES])
        seconds = time.monotonic() - started
        copied = await connection.fetchval(f"SELECT count(*) FROM {COPIED}")  # noqa: S608 - our own name
    finally:
        await connection.close()
    if copied != count:
        raise WrongResult(f"{copied} events were copied, not {count}")
    return seconds


def _records(catalogue: Catalogue, count: int) -> list[tuple[object, ...]]:
    """Rows of `usage_events` such as the flusher writes."""
    now, account_id, block_id = datetime.now(UTC), uuid4(), uuid4()
    draws = f'[["{block_id}",{COST_MICRO}]]'
    before = (account_id, 2, FEATURE, MICRO, COST_MICRO, 0, draws, catalogue.price_id)
    after = (None, now, now, now, None)
    return [
        (catalogue.environment_id, uuid4(), *before, f"{KEY_PREFIX}{number:012}", *after) for number in range(count)
    ]


async def wait_until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Look again and again. Raises WrongResult."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not await condition():
        if time.monotonic() > deadline:
            raise WrongResult(f"waited {PATIENCE_SECONDS} seconds in vain for {what}")
        await asyncio.sleep(POLL_SECONDS)
