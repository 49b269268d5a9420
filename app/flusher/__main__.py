"""`python -m app.flusher`."""

import asyncio
import gc

from app.flusher.loop import BATCHES_AT_ONCE, Flusher, Keeping
from app.io.clock import Clock
from app.io.lag import refresh_lag
from app.io.postgres import Database
from app.io.probes import open_probes
from app.io.process import run_until_stopped
from app.io.redis import RedisStore
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
    redis = await RedisStore.connect(settings.redis_url, settings.agreement())  # beside the one that waits for entries
    keeping = Keeping(settings.trim_lag_seconds, settings.stream_max_entries)
    clock = Clock()
    flusher = Flusher(database, stream, clock, keeping, settings.billing_timezone)

    async def refresh() -> None:
        await refresh_lag(redis, clock.now())

    try:
        async with open_probes(settings, settings.flusher_metrics_port, flusher.ready, refresh):
            await flusher.run(stop)
    finally:
        await redis.close()
        await stream.close()
        await database.close()


if __name__ == "__main__":
    # What is under way is some hundred thousand objects without cycles. To go through them for garbage again and again
    # would take a tenth of the time that posting takes. The bound is for what does leave cycles, such as errors.
    gc.freeze()
    gc.set_threshold(1_000_000, 20, 50)
    run_until_stopped(FlusherSettings, main)
