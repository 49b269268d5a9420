"""Whether the process lives, whether it can work, and what it counts."""

from datetime import datetime
from typing import Any

import msgspec
from litestar import Request, get
from litestar.di import NamedDependency

from app.errors import ServiceError
from app.io import metrics
from app.io.clock import Clock
from app.io.lag import read_lag, refresh_lag
from app.io.postgres import Database, Transaction, applied_steps, known_steps
from app.io.readiness import OK, Check, Part, Report, examine, store_checks
from app.io.redis import RedisStore
from app.web.bodies import ExactResponse
from app.wire.codes import Code
from app.wire.scraping import FORWARDED, REFUSED, may_scrape


class Alive(msgspec.Struct):
    """The process answers."""

    status: str = "alive"


class Probes:
    """What is looked at, and who may see the figures."""

    def __init__(self, database: Database, redis: RedisStore, max_lag_seconds: int, metrics_token: str | None) -> None:
        self._database = database
        self._redis = redis
        self._max_lag_seconds = max_lag_seconds
        self.metrics_token = metrics_token

    async def examine(self, now: datetime) -> Report:
        """Postgres with the schema of this release, Redis with our agreement, and how far the flusher is behind."""

        async def look_at_lag() -> Part:
            return await self._look_at_lag(now)

        checks = {
            "migrations": Check(self._look_at_migrations, "Nobody can tell as long as Postgres does not answer."),
            "flusher": Check(look_at_lag, "Nobody can tell how far it is as long as Redis does not answer."),
        }
        return await examine(store_checks(self._database, self._redis) | checks)

    async def _look_at_migrations(self) -> Part:
        async def read(tx: Transaction) -> list[str]:
            return await applied_steps(tx.connection)

        missing = sorted(set(known_steps()) - set(await self._database.run(None, read)))
        if missing:
            return Part("failing", f"These have not run: {', '.join(missing)}. Run `quotastack migrate`.")
        return OK

    async def _look_at_lag(self, now: datetime) -> Part:
        lag_seconds = (await read_lag(self._redis, now)).milliseconds // 1000
        if lag_seconds > self._max_lag_seconds:
            detail = f"Usage has waited {lag_seconds} s to be posted; see whether a flusher runs, and its log."
            return Part("degraded", detail)
        return OK


@get("/livez", include_in_schema=False)
async def livez() -> Alive:
    """The process lives."""
    return Alive()


@get("/readyz", include_in_schema=False)
async def readyz(probes: NamedDependency[Probes], machine_clock: NamedDependency[Clock]) -> Report:
    """Whether core can work, part by part. Ledger entries that wait degrade it, since it can do without them."""
    report = await probes.examine(machine_clock.now())
    if report.status == "unavailable":
        parts = msgspec.to_builtins(report.parts)
        raise ServiceError(Code.STORE_UNAVAILABLE, report.complaint, context={"parts": parts})
    return report


@get("/metrics", include_in_schema=False)
async def figures(
    request: Request[Any, Any, Any],
    probes: NamedDependency[Probes],
    redis: NamedDependency[RedisStore],
    machine_clock: NamedDependency[Clock],
) -> ExactResponse[bytes]:
    """What this process counts, for Prometheus."""
    peer = "" if request.client is None else request.client.host
    is_forwarded = any(name in request.headers for name in FORWARDED)
    authorization = request.headers.get("authorization", "")
    if not may_scrape(probes.metrics_token, authorization, peer, is_forwarded=is_forwarded):
        raise ServiceError(Code.UNAUTHENTICATED, REFUSED)
    await refresh_lag(redis, machine_clock.now())
    return ExactResponse(metrics.exposition(), media_type=metrics.CONTENT_TYPE)


ROUTES = [livez, readyz, figures]
