"""All checks, one after the other; what one fails with is its own verdict."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

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
    local: Path | None = None
    """Where the stack of this machine has its data, if that is what is examined. Without addresses it does not run."""


class Diagnosis(msgspec.Struct, frozen=True):
    """The verdict of one check."""

    check: str
    verdict: Verdict


async def examine(system: System, checks: Sequence[Check] = CHECKS) -> list[Diagnosis]:
    """Look at everything; nothing is changed. Raises nothing for what is wrong with the system."""
    away: dict[str, Verdict] = {}
    database = await _open_database(system, away)
    redis = await _open_redis(system, away)
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


async def _open_database(system: System, away: dict[str, Verdict]) -> Database | None:
    """Connections of the owner; where none can be had, the check `postgres` has its verdict."""
    if system.database_url is None:
        away["postgres"] = _not_named(system, "DATABASE_URL", "Set it to the address of the owner.")
        return None
    try:
        return await Database.open(system.database_url, "quotastack doctor", 1)
    except (OSError, DatabaseError, ServiceError) as error:
        remedy = "See that it runs, and that DATABASE_URL is the owner's address of it."
        away["postgres"] = _unreachable(system, str(error) or type(error).__name__, remedy)
        return None


async def _open_redis(system: System, away: dict[str, Verdict]) -> RedisStore | None:
    """Connections to Redis; where none can be had, the check `redis` has its verdict."""
    if system.redis_url is None:
        away["redis"] = _not_named(system, "REDIS_URL", "Set it, so that the edge's half can be looked at.")
        return None
    redis = RedisStore.open(system.redis_url, system.agreement)
    try:
        await redis.ping()
    except (RedisUnavailable, OSError) as error:
        await redis.close()
        remedy = "See that it runs and that REDIS_URL is its address. Meanwhile edges spool usage and refuse the rest."
        away["redis"] = _unreachable(system, str(error), remedy)
        return None
    return redis


def _not_named(system: System, variable: str, remedy: str) -> Verdict:
    if system.local is None:
        return unknown(f"{variable} is not set", remedy)
    seen = f"{variable} is not set, and no stack runs here, though {system.local} is there"
    return unknown(seen, f"Start it: `make run`. To look at another system, set {variable}.")


def _unreachable(system: System, why: str, remedy: str) -> Verdict:
    """A stack that was killed leaves its addresses behind."""
    start = "" if system.local is None else "Where the stack of this machine is down, start it: `make run`. "
    return problem(f"it cannot be reached: {why}", start + remedy)
