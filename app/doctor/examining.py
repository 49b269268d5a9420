"""All checks, one after the other; what one fails with is its own verdict."""

import asyncio
from collections.abc import Mapping, Sequence

import msgspec

from app.doctor import flow_checks, machine_checks, postgres_checks, redis_checks
from app.doctor.patient import Check, Expected, Patient, Status, StoreAway, Verdict, problem, unknown
from app.errors import ServiceError
from app.io.clock import Clock
from app.io.postgres import Database, DatabaseError
from app.io.redis import RedisStore, RedisUnavailable
from app.wire.agreement import Agreement

CHECKS: tuple[Check, ...] = (
    *machine_checks.CHECKS,
    *postgres_checks.CHECKS,
    *redis_checks.CHECKS,
    *flow_checks.CHECKS,
)
CHECK_SECONDS = 15
"""How long one may take: where a store does not answer, the others are looked at all the same."""
SEVERITY: tuple[Status, ...] = ("ok", "warning", "unknown", "problem")
"""The worse the later."""
_FAILURES = (ServiceError, DatabaseError, RedisUnavailable, OSError)


class System(msgspec.Struct, frozen=True):
    """What is to be examined. An address that is None is not known."""

    database_url: str | None
    redis_url: str | None
    agreement: Agreement
    expected: Expected
    environ: Mapping[str, str]


class Diagnosis(msgspec.Struct, frozen=True):
    """The verdict of one check."""

    check: str
    verdict: Verdict


async def examine(system: System, checks: Sequence[Check] = CHECKS) -> list[Diagnosis]:
    """Look at everything; nothing is changed. Raises nothing for what is wrong with the system."""
    away: dict[str, Verdict] = {}
    database = await _open_database(system.database_url, away)
    redis = await _open_redis(system.redis_url, system.agreement, away)
    patient = Patient(system.environ, system.expected, Clock().now, database, redis)
    try:
        return [
            Diagnosis(check.name, away[check.name] if check.name in away else await _look(check, patient))
            for check in checks
        ]
    finally:
        if redis is not None:
            await redis.close()
        if database is not None:
            await database.close()


def worst_of(diagnoses: Sequence[Diagnosis]) -> Status:
    """The worst of all verdicts."""
    return SEVERITY[max((SEVERITY.index(diagnosis.verdict.status) for diagnosis in diagnoses), default=0)]


async def _look(check: Check, patient: Patient) -> Verdict:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await check.look(patient)
    except StoreAway as error:
        return unknown(f"{error} cannot be reached")
    except TimeoutError:
        return unknown(f"no answer within {CHECK_SECONDS} s")
    except _FAILURES as error:
        return unknown(f"it could not be looked at: {error}")


async def _open_database(url: str | None, away: dict[str, Verdict]) -> Database | None:
    """Connections of the owner; where none can be had, the check `postgres` has its verdict."""
    if url is None:
        away["postgres"] = unknown("DATABASE_URL is not set", "Set it to the address of the owner.")
        return None
    try:
        return await Database.open(url, "quotastack doctor", 1)
    except (OSError, DatabaseError, ServiceError) as error:
        remedy = "See that it runs, and that DATABASE_URL is the owner's address of it."
        away["postgres"] = problem(f"it cannot be reached: {error or type(error).__name__}", remedy)
        return None


async def _open_redis(url: str | None, agreement: Agreement, away: dict[str, Verdict]) -> RedisStore | None:
    """Connections to Redis; where none can be had, the check `redis` has its verdict."""
    if url is None:
        away["redis"] = unknown("REDIS_URL is not set", "Set it, so that the edge's half can be looked at.")
        return None
    redis = RedisStore.open(url, agreement)
    try:
        await redis.ping()
    except (RedisUnavailable, OSError) as error:
        await redis.close()
        remedy = "See that it runs and that REDIS_URL is its address. Meanwhile edges spool usage and refuse the rest."
        away["redis"] = problem(f"it cannot be reached: {error}", remedy)
        return None
    return redis
