"""Routes of test clocks."""

from collections.abc import Awaitable
from typing import TypeVar

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from app.errors import ServiceError
from app.io.postgres import Database, Transaction
from app.io.redis import RedisStore
from app.test_clocks import service, store
from app.test_clocks.schemas import Advance, AdvancedBody, Freeze, Reset, TestClockBody, show_clock
from app.test_clocks.settling import Settling
from app.trail.idempotency import STORED_REFUSALS, Mutation
from app.web.bodies import ExactResponse
from app.web.principal import SECURITY, Principal, needs
from app.web.problems import status_of
from app.web.reader import Reader
from app.wire.scopes import Scope

CLOCK = needs(Scope.CATALOG_WRITE)
_OK = 200
Body = TypeVar("Body", bound=msgspec.Struct)


class Clocks:
    """What moving a clock reaches."""

    def __init__(self, principal: Principal, mutation: Mutation, database: Database, redis: RedisStore) -> None:
        self._principal = principal
        self._mutation = mutation
        self._database = database
        self._redis = redis

    async def freeze(self, asked: Freeze) -> TestClockBody:
        """Have time stand still, and post what is due by then. Raises ServiceError."""
        service.require_sandbox(self._principal)
        environment_id, now = self._mutation.environment_id, self._mutation.asked_at
        way = await self._database.run(environment_id, lambda tx: service.freeze(tx, asked.at, now))
        await Settling(self._database, self._redis, environment_id, way).run()
        return TestClockBody(way.to, None)

    async def advance(self, asked: Advance) -> AdvancedBody:
        """Move time on, and post what falls due. Raises ServiceError."""
        service.require_sandbox(self._principal)
        environment_id = self._mutation.environment_id
        way = await self._database.run(environment_id, lambda tx: service.start_advance(tx, asked))
        return AdvancedBody(way.to, await Settling(self._database, self._redis, environment_id, way).run())

    async def answer(self, asked: msgspec.Struct, done: Awaitable[Body]) -> ExactResponse[Body]:
        """Answer with what is done; a refusal is stored beside the key as any answer is."""
        body: Body | None = None
        refused: ServiceError | None = None
        try:
            body = await done
        except ServiceError as error:
            if status_of(error.code) not in STORED_REFUSALS:
                raise
            refused = error

        async def answer(_tx: Transaction) -> Body:
            if body is None:
                raise refused or AssertionError
            return body

        return await self._mutation.run(asked, answer, status=_OK)


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
    if (answered := await mutation.answered(data)) is not None:
        return answered
    return await clocks.answer(data, clocks.freeze(data))


@post("/v1/test-clock/advance", guards=[CLOCK], security=SECURITY, tags=["Test clock"], status_code=_OK)
async def advance_test_clock(
    data: JSONBody[Advance], mutation: NamedDependency[Mutation], clocks: NamedDependency[Clocks]
) -> ExactResponse[AdvancedBody]:
    """Move the clock on. Once it is answered, everything that fell due is posted and known to every edge.

    Where that takes longer than one request waits, the answer is 503 `test_clock_advancing`: ask for the same again.
    """
    if (answered := await mutation.answered(data)) is not None:
        return answered
    return await clocks.answer(data, clocks.advance(data))


@post("/v1/test-clock/reset", guards=[CLOCK], security=SECURITY, tags=["Test clock"], status_code=_OK)
async def reset_test_clock(
    data: JSONBody[Reset], principal: NamedDependency[Principal], mutation: NamedDependency[Mutation]
) -> ExactResponse[TestClockBody]:
    """Have this sandbox environment go by the real time again; only before it has customers."""

    async def work(tx: Transaction) -> TestClockBody:
        service.require_sandbox(principal)
        await service.reset(tx)
        return show_clock(None)

    return await mutation.run(data, work, status=_OK)


ROUTES = [get_test_clock, freeze_test_clock, advance_test_clock, reset_test_clock]
