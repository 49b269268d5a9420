"""`python -m app.flusher`."""

import asyncio

from app.flusher.loop import Flusher, Keeping
from app.io.clock import Clock
from app.io.postgres import Database
from app.io.process import run_until_stopped
from app.io.stream import StreamConnection
from app.settings import FlusherSettings

IDLE_MILLISECONDS = 3_000
"""Below the lease: a process that was stopped inside a transaction lets its rows go before another takes over."""


async def main(stop: asyncio.Event, settings: FlusherSettings) -> None:
    """Run until stopped."""
    database = await Database.open(
        settings.flusher_database_url, "quotastack flusher", 2, idle_timeout_milliseconds=IDLE_MILLISECONDS
    )
    stream = await StreamConnection.connect(settings.redis_url, settings.agreement())
    keeping = Keeping(settings.trim_lag_seconds, settings.stream_max_entries)
    try:
        await Flusher(database, stream, Clock(), keeping).run(stop)
    finally:
        await stream.close()
        await database.close()


if __name__ == "__main__":
    run_until_stopped(FlusherSettings, main)
