"""Routes of test clocks."""

from typing import Any

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from app.io.postgres import Database, Transaction
from app.io.redis import RedisStore
from app.test_clocks import service, store
from app.test_clocks.schemas import Advance, AdvancedBody, Freeze, Reset, TestClockBody, show_clock
from app.test_clocks.settling import Settling
from app.trail import audit
from app.trail.idempotency import Mutation
from app.web.bodies import ExactResponse
from app.web.principal import SECURITY, Principal, needs
from app.web.reader import Reader
from app.wire.ids import show
from app.wire.scopes import Scope

CLOCK = needs(Scope.CATALOG_WRITE)
_OK = 200


class Moved(msgspec.Struct, frozen=True):
    """A clock that was moved: where it stood, and what is answered."""

    before: TestClockBody
    body: TestClockBody | AdvancedBody


class Clocks:
    """What moving a clock reaches."""

    def __init__(self, principal: Principal, mutation: Mutation, database: Database, redis: RedisStore) -> None:
        self._principal = principal
        self._mutation = mutation
        self._database = database
        self._redis = redis
        self._name = None if mutation.key is None else f"{mutation.route} {mutation.key}"
        """What tells the request from others; None = nothing does."""

    async def freeze(self, asked: Freeze) -> Moved:
        """Have time stand still, and post what is due by then. Raises ServiceError."""
        service.require_sandbox(self._principal)
        environment_id, now = self._mutation.environment_id, self._mutation.asked_at
        way = await self._database.run(environment_id, lambda tx: service.freeze(tx, asked.at, now, self._name))
        await Settling(self._database, self._redis, environment_id, way).run()
        return Moved(show_clock(None), TestClockBody(way.to, None))

    async def advance(self, asked: Advance) -> Moved:
        """Move time on, and post what falls due. Raises ServiceError."""
        service.require_sandbox(self._principal)
        environment_id = self._mutation.environment_id
        begun_at, way = await self._database.run(
            environment_id, lambda tx: service.start_advance(tx, asked, self._name)
        )
        accounts = await Settling(self._database, self._redis, environment_id, way).run()
        return Moved(TestClockBody(begun_at, None), AdvancedBody(way.to, accounts))


def provide_clocks(
    principal: NamedDependency[Principal],
    mutation: NamedDependency[Mutation],
    database: NamedDependency[Database],
    redis: NamedDependency[RedisStore],
) -> Clocks:
    """What moving a clock reaches."""
    return Clocks(principal, mutation, database, redis)


@get("/v1/test-clock", guards=[CLOCK], security=SECURITY, tags=["Test clock"])
async def get_test_clock(principal: NamedDependency[Principal], reader: NamedDependency[Reader]) -> TestClockBody:
    """What time it is in this sandbox environment."""
    service.require_sandbox(principal)

    async def work(tx: Transaction) -> TestClockBody:
        return show_clock(await store.read_clock(tx))

    return await reader.run(work)


@post("/v1/test-clock/freeze", guards=[CLOCK], security=SECURITY, tags=["Test clock"], status_code=_OK)
async def freeze_test_clock(
    data: JSONBody[Freeze], mutation: NamedDependency[Mutation], clocks: NamedDependency[Clocks]
) -> ExactResponse[TestClockBody]:
    """Have the time of this sandbox environment stand still, now or at a later moment, until it is moved on."""
    return await mutation.run_outside(data, lambda: clocks.freeze(data), _tell, status=_OK)


@post("/v1/test-clock/advance", guards=[CLOCK], security=SECURITY, tags=["Test clock"], status_code=_OK)
async def advance_test_clock(
    data: JSONBody[Advance], mutation: NamedDependency[Mutation], clocks: NamedDependency[Clocks]
) -> ExactResponse[AdvancedBody]:
    """Move the clock on. Once it is answered, everything that fell due is posted and known to every edge.

    Where that takes longer than one request waits, the answer is 503 `test_clock_advancing`: ask for the same again.
    """
    return await mutation.run_outside(data, lambda: clocks.advance(data), _tell, status=_OK)


@post("/v1/test-clock/reset", guards=[CLOCK], security=SECURITY, tags=["Test clock"], status_code=_OK)
async def reset_test_clock(
    data: JSONBody[Reset], principal: NamedDependency[Principal], mutation: NamedDependency[Mutation]
) -> ExactResponse[TestClockBody]:
    """Have this sandbox environment go by the real time again; only before it has customers."""

    async def work(tx: Transaction) -> TestClockBody:
        service.require_sandbox(principal)
        _say(tx, show_clock(await store.read_clock(tx)))
        await service.reset(tx, mutation.asked_at)
        return show_clock(None)

    return await mutation.run(data, work, status=_OK)


async def _tell(tx: Transaction, moved: Moved) -> Any:  # noqa: ANN401 - the body of its route
    _say(tx, moved.before)
    return moved.body


def _say(tx: Transaction, before: TestClockBody) -> None:
    audit.changed(tx, "test_clock", show("env", tx.environment), before=before)


ROUTES = [get_test_clock, freeze_test_clock, advance_test_clock, reset_test_clock]
