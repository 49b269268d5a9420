"""`python -m app.jobs`."""

import asyncio
from functools import partial

from app.io.clock import Clock
from app.io.outbound import open_guarded_session, post_webhook
from app.io.postgres import Database
from app.io.probes import open_probes
from app.io.process import run_until_stopped
from app.io.readiness import Check, Report, examine, store_checks
from app.io.redis import RedisStore
from app.jobs.backlog import refresh_backlog
from app.jobs.checkpoint import Checkpointer
from app.jobs.deliver import SLOTS, Deliverer
from app.jobs.enrol import EnrolmentSweeper
from app.jobs.forget import Forgetter
from app.jobs.holds import HoldSweeper
from app.jobs.keys import KeyTeller, UseKeeper
from app.jobs.partitions import PartitionMaker
from app.jobs.prune import KeyPruner
from app.jobs.reconcile import Reconciler
from app.jobs.relay import Relay
from app.jobs.reload import Reloader
from app.jobs.replays import Replays
from app.jobs.sweep import Sweeper
from app.jobs.tick import Ticker
from app.rules.addresses import read_networks
from app.settings import JobsSettings

ROUND_SECONDS = 120
"""What a round may take: Postgres may have died without a word, and then nothing else ends the wait for its answer."""
LEDGER_SECONDS = 3_600
"""The same of work that goes through the whole ledger."""


async def main(stop: asyncio.Event, settings: JobsSettings) -> None:
    """Run until stopped."""
    database = await Database.open(
        settings.jobs_database_url, "quotastack jobs", max_size=4, work_seconds=ROUND_SECONDS
    )
    ledger = await Database.open(
        settings.jobs_database_url, "quotastack ledger", max_size=2, work_seconds=LEDGER_SECONDS
    )
    webhooks = await Database.open(settings.jobs_database_url, "quotastack webhooks", max_size=3)
    redis = await RedisStore.connect(settings.redis_url, settings.agreement())
    clock, networks = Clock(), read_networks(settings.webhook_allowed_networks)

    reconciler = Reconciler(ledger, redis, clock)

    async def ready() -> Report:
        drift = Check(reconciler.tell, "Nobody knows whether accounts agree with the ledger.")
        return await examine({**store_checks(database, redis), "drift": drift})

    async def refresh() -> None:
        await refresh_backlog(database, clock.now())

    try:
        async with (
            open_probes(settings, settings.jobs_metrics_port, ready, refresh),
            open_guarded_session(networks, connections=SLOTS) as session,
            asyncio.TaskGroup() as group,
        ):
            group.create_task(Ticker(database, redis, clock).run(stop))
            group.create_task(Reloader(database, redis, clock).run(stop))
            group.create_task(EnrolmentSweeper(database, redis, clock).run(stop))
            group.create_task(Sweeper(database, redis, clock).run(stop))
            group.create_task(Checkpointer(ledger, clock).run(stop))
            group.create_task(PartitionMaker(database, clock).run(stop))
            group.create_task(HoldSweeper(database, clock).run(stop))
            group.create_task(KeyPruner(database, clock).run(stop))
            group.create_task(KeyTeller(database, redis, clock).run(stop))
            group.create_task(UseKeeper(database, redis).run(stop))
            group.create_task(reconciler.run(stop))
            group.create_task(Relay(webhooks, clock).run(stop))
            group.create_task(Replays(webhooks, clock).run(stop))
            group.create_task(Forgetter(webhooks, clock).run(stop))
            post = partial(post_webhook, session)
            group.create_task(Deliverer(webhooks, post, settings.webhook_key, clock).run(stop))
    finally:
        await redis.close()
        await webhooks.close()
        await ledger.close()
        await database.close()


if __name__ == "__main__":
    run_until_stopped(JobsSettings, main)
