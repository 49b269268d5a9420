"""Whether a process can work: a few parts, looked at all at once, each within a bound."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

import msgspec
import structlog

from app.errors import ServiceError
from app.io.postgres import Database, Transaction
from app.io.redis import AgreementMismatch, RedisStore, RedisUnavailable

log: Any = structlog.get_logger()
CHECK_SECONDS = 2.0
"""How long a part may take to answer. A probe that waits longer gives up by itself."""


class Part(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that the process needs; `detail` says what is wrong with it and what to do."""

    status: Literal["ok", "degraded", "failing"]
    detail: str = ""


OK = Part("ok")


class Report(msgspec.Struct, frozen=True):
    """All parts by name. `degraded` = it works, and somebody should look."""

    status: Literal["ready", "degraded", "unavailable"]
    parts: dict[str, Part]

    @property
    def complaint(self) -> str:
        """What is not as it should be, in one line."""
        return " ".join(f"{name}: {part.detail}" for name, part in self.parts.items() if part.detail)


class Check(msgspec.Struct, frozen=True):
    """How a part is looked at, and what is said of it where that raises or takes too long."""

    look: Callable[[], Awaitable[Part]]
    when_failing: str


Ready = Callable[[], Awaitable[Report]]


def store_checks(database: Database, redis: RedisStore) -> dict[str, Check]:
    """Whether the two stores answer, and Redis holds our agreement."""

    async def begin(_tx: Transaction) -> None:
        pass

    async def look_at_postgres() -> Part:
        await database.run(None, begin)
        return OK

    async def look_at_redis() -> Part:
        await redis.check_agreement()
        return OK

    return {
        "postgres": Check(look_at_postgres, "Postgres does not answer; see its log, and the …_DATABASE_URL here."),
        "redis": Check(look_at_redis, "Redis does not answer; see its log, and REDIS_URL."),
    }


async def examine(checks: Mapping[str, Check]) -> Report:
    """Look at all parts at once."""
    parts = dict(zip(checks, await asyncio.gather(*map(_look, checks.values())), strict=True))
    found = {part.status for part in parts.values()}
    return Report("unavailable" if "failing" in found else "degraded" if "degraded" in found else "ready", parts)


async def _look(check: Check) -> Part:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await check.look()
    except AgreementMismatch as error:
        return Part("failing", f"{error}. PARTITIONS and IDEMPOTENCY_WINDOW_SECONDS are the same for every process.")
    except (ServiceError, RedisUnavailable, OSError) as error:
        log.warning("not_ready", what=check.when_failing, error=str(error), kind=type(error).__name__)
        return Part("failing", check.when_failing)
