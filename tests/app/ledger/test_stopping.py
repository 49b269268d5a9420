"""`quotastack ledger verify` ends when it is told to, whatever Postgres is doing."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import asyncpg
import pytest

from app.cli import COULD_NOT_RUN
from tests.app.schema.catalogue import connected
from tests.conftest import DatabaseUrls
from tests.waiting import wait_until_async

PROMPT_SECONDS = 10
"""Beside the two that Postgres has for saying that it stops: for a busy machine."""
DEAF = ("sh", "-c", "trap '' INT; exec \"$@\"", "sh")
"""As a script starts what it leaves in the background."""
VERIFY = (sys.executable, "-m", "app.cli", "ledger", "verify")


@contextmanager
def verifying(database_url: str, *before: str) -> Iterator["subprocess.Popen[bytes]"]:
    """The command as a process; gone afterwards."""
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": database_url}
    with subprocess.Popen([*before, *VERIFY], env=environment, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
async def watcher(copy: DatabaseUrls) -> AsyncIterator[asyncpg.Connection]:
    """A session beside one that has locked what verify reads first: that waits for it, and for two seconds only."""
    async with connected(copy.owner) as locking, locking.transaction(), connected(copy.owner) as watching:
        await locking.execute("LOCK TABLE usage_events")
        yield watching


async def waiting_session(watcher: asyncpg.Connection) -> int:
    """The process of Postgres that verify waits for."""

    async def find() -> int | None:
        return await watcher.fetchval(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'quotastack verify' AND wait_event_type = 'Lock'"
        )

    return await wait_until_async(find, 30, "verify to wait for the lock")


@pytest.mark.parametrize("before", [(), DEAF], ids=["in front", "in the background"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_verify_stops(
    copy: DatabaseUrls, watcher: asyncpg.Connection, number: signal.Signals, before: tuple[str, ...]
) -> None:
    """At once, with the status of what was not verified, and with nothing of it left in Postgres."""
    with verifying(copy.owner, *before) as process:
        session = await waiting_session(watcher)
        process.send_signal(number)
        _, said = await asyncio.to_thread(process.communicate, timeout=PROMPT_SECONDS)
    assert said.decode().endswith("quotastack: stopped before the end.\n")
    assert process.returncode == COULD_NOT_RUN

    async def is_gone() -> bool:
        return not await watcher.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", session)

    await wait_until_async(is_gone, 5, "its session to end")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_verify_stops_while_postgres_is_silent(
    copy: DatabaseUrls, watcher: asyncpg.Connection, number: signal.Signals
) -> None:
    """It waits for an answer no longer than it said."""
    with verifying(copy.owner) as process:
        session = await waiting_session(watcher)
        os.kill(session, signal.SIGSTOP)
        try:
            process.send_signal(number)
            await asyncio.to_thread(process.communicate, timeout=PROMPT_SECONDS)
        finally:
            os.kill(session, signal.SIGCONT)
    assert process.returncode == COULD_NOT_RUN
