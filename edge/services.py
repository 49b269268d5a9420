"""What the handlers of one worker share."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from app.rules.addresses import read_networks
from app.wire.held import Bounds
from app.wire.slots import is_cluster
from edge.accounts import Accounts
from edge.auth import Keys, Trust
from edge.core_client import CoreClient
from edge.plans import Plans
from edge.rates import Rates
from edge.redis import Redis
from edge.redis_cluster import RedisCluster
from edge.reservations import Reservations
from edge.settings import EdgeSettings
from edge.spool import Spool


class Services:
    """Made once, inside the running loop."""

    def __init__(self, settings: EdgeSettings) -> None:
        self.settings = settings
        self.redis = _redis_of(settings)
        self.core = CoreClient(settings.core_internal_url, settings.internal_secret)
        rates = Rates(self.redis, settings.allowances(), settings.partitions)
        trust = Trust(settings.key_pepper.encode(), read_networks(settings.trusted_proxies))
        self.keys = Keys(self.redis, self.core, rates, trust, self.start)
        self.plans = Plans(self.redis, self.core)
        self.accounts = Accounts(settings.partitions)
        self.reservations = Reservations(self.redis, self.core, self.accounts, settings.partitions)
        self.bounds = Bounds(settings.idempotency_window_seconds * 1000, settings.stream_max_entries)
        self.spool = Spool(Path(settings.spool_directory), settings.spool_max_bytes)
        self.is_stopping = False
        """The worker was told to stop: nobody should send it anything new."""
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run what the fast path cannot wait for; `work` answers its own errors."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _redis_of(settings: EdgeSettings) -> Redis:
    """What the address names: one server, or a cluster."""
    if is_cluster(settings.redis_url):
        return RedisCluster(settings.redis_url, settings.agreement(), settings.durability)
    return Redis(settings.redis_url, settings.agreement().fingerprint(), settings.durability)
