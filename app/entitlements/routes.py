"""Routes for the edges: bringing into Redis what they do not find there."""

from uuid import UUID

import msgspec
import structlog
from litestar import post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from app.entitlements.loading import load_account, load_plan, load_reservation
from app.errors import ServiceError
from app.io.postgres import Database
from app.io.redis import RedisStore
from app.subscriptions.enrolling import Enroller
from app.tenants.schemas import LoadOutcome
from app.web.fields import EndUserId
from app.web.principal import needs_internal_secret

log = structlog.get_logger()


class AccountLoad(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The customer whose account an edge does not find."""

    environment_id: UUID
    end_user_id: EndUserId
    enroll: bool = False
    """Whether whoever asks may have an unknown end user enrolled."""


class ReservationLoad(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The reservation that an edge does not find."""

    environment_id: UUID
    reservation_id: UUID


class PlanLoad(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The plan snapshot that an edge does not find."""

    environment_id: UUID
    snapshot_id: str


@post("/internal/accounts/load", guards=[needs_internal_secret], status_code=200)
async def load_account_route(
    data: JSONBody[AccountLoad],
    database: NamedDependency[Database],
    redis: NamedDependency[RedisStore],
    enroller: NamedDependency[Enroller],
) -> LoadOutcome:
    """Bring an account into Redis, of an end user who is enrolled with it where that is wanted."""
    outcome = await load_account(database, redis, data.environment_id, data.end_user_id)
    if outcome == "unknown" and data.enroll and await _enroll(enroller, data):
        outcome = await load_account(database, redis, data.environment_id, data.end_user_id)
    return LoadOutcome(outcome)


async def _enroll(enroller: Enroller, data: AccountLoad) -> bool:
    """Whether there may be an account now. Whoever is not enrolled in time is by the next request, or soon."""
    try:
        return await enroller.enroll(data.environment_id, data.end_user_id, is_paced=True)
    except ServiceError as error:
        log.warning("enrolment_postponed", error=str(error))
        return True


@post("/internal/reservations/load", guards=[needs_internal_secret], status_code=200)
async def load_reservation_route(
    data: JSONBody[ReservationLoad],
    database: NamedDependency[Database],
    redis: NamedDependency[RedisStore],
) -> LoadOutcome:
    """Bring a reservation into Redis."""
    return LoadOutcome(await load_reservation(database, redis, data.environment_id, data.reservation_id))


@post("/internal/plans/load", guards=[needs_internal_secret], status_code=200)
async def load_plan_route(
    data: JSONBody[PlanLoad], database: NamedDependency[Database], redis: NamedDependency[RedisStore]
) -> LoadOutcome:
    """Bring a plan snapshot into Redis."""
    return LoadOutcome(await load_plan(database, redis, data.environment_id, data.snapshot_id))


INTERNAL_ROUTES = [load_account_route, load_reservation_route, load_plan_route]
