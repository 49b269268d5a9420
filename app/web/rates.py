"""Rate limits of core: each request is counted in Redis, by itself, before its handler, so the limits are exact.

What core forwards is not counted here: the edge counts it, in the same counters, and its answer says what is left.
"""

import asyncio
from typing import Any

import structlog
from litestar.connection import ASGIConnection

from app.errors import ServiceError
from app.io import metrics
from app.io.clock import Clock
from app.io.redis import RedisStore, RedisUnavailable
from app.rules.moments import to_at
from app.web.outer import add_headers
from app.wire import scripts
from app.wire.codes import Code
from app.wire.rates import (
    POLICY_FIELD,
    STANDING,
    STANDING_FIELD,
    Admission,
    Allowances,
    Ask,
    Asker,
    RateLimits,
    script_arguments,
    script_keys,
    why_refused,
)

_log = structlog.get_logger(__name__)

COUNTING_SECONDS = 0.5
"""How long a request waits to be counted."""
PAUSE_SECONDS = 1.0
"""How long nothing is counted after Redis did not count: not every request waits for it."""
_UNCOUNTED = metrics.counter(
    "quotastack_core_uncounted_requests_total", "Requests that no rate limit held, since Redis could not be asked"
)
Connection = ASGIConnection[Any, Any, Any, Any]


class Rates:
    """Counts requests by API key and environment."""

    def __init__(self, redis: RedisStore, clock: Clock, allowances: Allowances) -> None:
        self._redis = redis
        self._clock = clock
        self._allowances = allowances
        self._paused_until = 0.0

    async def admit(self, connection: Connection, asker: Asker) -> None:
        """Count a request, and have its answer say what is left. Raises ServiceError(TOO_MANY_REQUESTS).

        Where Redis does not count, the request goes on.
        """
        limits, now_at = self._allowances.of(asker.environment), to_at(self._clock.now())
        add_headers(connection.scope, [(POLICY_FIELD.lower(), limits.policy())])
        admission = await self._count(asker, limits, now_at)
        if admission is None:
            _UNCOUNTED.inc()
            return
        seconds = limits.seconds_left(now_at)
        standing = STANDING % (admission.key_left, seconds, admission.tenant_left, seconds)
        add_headers(connection.scope, [(STANDING_FIELD.lower(), standing)])
        if not admission.granted:
            detail = why_refused(limits, admission.key_left, seconds)
            raise ServiceError(Code.TOO_MANY_REQUESTS, detail, retry_after_seconds=seconds)

    async def _count(self, asker: Asker, limits: RateLimits, now_at: int) -> Admission | None:
        loop = asyncio.get_running_loop()
        if loop.time() < self._paused_until:
            return None
        ask = Ask(limits.window_at(now_at), waiting=1)
        names = script_keys(asker, ask.window, self._redis.agreement.partitions)
        try:
            async with asyncio.timeout(COUNTING_SECONDS):
                return Admission(*await self._redis.run(scripts.ADMIT, names, script_arguments(limits, ask)))
        except (RedisUnavailable, TimeoutError) as error:
            self._paused_until = loop.time() + PAUSE_SECONDS
            _log.warning("requests_not_counted", cause=repr(error))
            return None
