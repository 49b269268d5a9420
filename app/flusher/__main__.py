"""`python -m app.flusher`."""

import asyncio

from app.flusher.loop import Flusher
from app.io.clock import Clock
from app.io.postgres import Database
from app.io.process import run_until_stopped
from app.io.stream import StreamConnection
from app.settings import FlusherSettings


async def main(stop: asyncio.Event, settings: FlusherSettings) -> None:
    """Run until stopped."""
    database = await Database.open(settings.flusher_database_url, "quotastack flusher", max_size=2)
    stream = await StreamConnection.connect(settings.redis_url, settings.agreement())
    try:
        await Flusher(database, stream, Clock(), settings.trim_lag_seconds).run(stop)
    finally:
        await stream.close()
        await database.close()


if __name__ == "__main__":
    run_until_stopped(FlusherSettings, main)
