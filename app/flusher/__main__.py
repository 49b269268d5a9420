"""`python -m app.flusher`."""

import asyncio
import gc

from app.flusher.loop import BATCHES_AT_ONCE, Flusher, Keeping
from app.io.clock import Clock
from app.io.postgres import Database
from app.io.process import run_until_stopped
from app.io.stream import StreamConnection
from app.settings import FlusherSettings

SESSION = {
    # Below the lease: a process that was stopped inside a transaction lets its rows go before another takes over.
    "idle_in_transaction_session_timeout": "3000",
    # Every statement names its rows by key. Planned for the rows at hand, some would read whole tables instead.
    "plan_cache_mode": "force_generic_plan",
}


async def main(stop: asyncio.Event, settings: FlusherSettings) -> None:
    """Run until stopped."""
    database = await Database.open(
        settings.flusher_database_url, "quotastack flusher", BATCHES_AT_ONCE, settings=SESSION
    )
    stream = await StreamConnection.connect(settings.redis_url, settings.agreement())
    keeping = Keeping(settings.trim_lag_seconds, settings.stream_max_entries)
    try:
        await Flusher(database, stream, Clock(), keeping, settings.billing_timezone).run(stop)
    finally:
        await stream.close()
        await database.close()


if __name__ == "__main__":
    # A batch makes a hundred thousand objects and leaves no cycles: looking for garbage would cost as much as posting.
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)
    run_until_stopped(FlusherSettings, main)
