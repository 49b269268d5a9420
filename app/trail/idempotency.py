"""One way for every request that changes something: key, effect and answer commit together.

The key's row is inserted first, so a twin waits for it. A replay answers the stored status and bytes; another request
under the same key is refused and named. Refusals that are about the state of things (402, 403, 404, 409) are answers
like any other and are stored; validation errors, failures and 503 are not.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

import msgspec
from litestar import Request
from litestar.datastructures import State
from litestar.di import NamedDependency

from app.errors import ServiceError, invalid_value
from app.io.clock import Clock
from app.io.postgres import Database, LockTimeoutError, Transaction
from app.trail import dirty, store
from app.web.bodies import JSON, ExactResponse, encode
from app.web.outer import request_id_of
from app.web.principal import Principal
from app.web.problems import problem_body, status_of
from app.wire.codes import Code
from app.wire.problem import CONTENT_TYPE

Body = TypeVar("Body", bound=msgspec.Struct)
HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
MAX_KEY_LENGTH = 255
STORED_REFUSALS = frozenset({402, 403, 404, 409})
_CREATED = 201
_FIRST_ERROR = 400

_decoder = msgspec.json.Decoder(float_hook=Decimal)


class Answer(msgspec.Struct, frozen=True):
    """A status and the exact bytes of a body; `replayed` where they were stored before."""

    status: int
    body: bytes
    replayed: bool = False


class Repeated(msgspec.Struct, frozen=True):
    """What work returns where all that was asked had been done before, under whatever key: `body` is the answer then.

    It is answered as a replay is.
    """

    body: msgspec.Struct


Work = Callable[[Transaction], Awaitable[Body | Repeated]]


class Mutation:
    """A request that changes something in one environment."""

    def __init__(
        self, request: Request[Principal, Any, State], database: Database, now: datetime, asked_at: datetime
    ) -> None:
        self.now = now
        """What time it is in the environment, perhaps by a test clock."""
        self.asked_at = asked_at
        """What time it really is: how long a key is remembered follows from it."""
        self.key = _key_of(request)
        self.actor = request.user.actor
        self._database = database
        self.environment_id = request.user.environment_id
        self.route = f"{request.method} {request.scope['path_template']}"
        self._path_params: dict[str, Any] = request.path_params
        self._request_id = request_id_of(request.scope)

    async def run(self, asked: msgspec.Struct, work: Work[Body], *, status: int = _CREATED) -> ExactResponse[Body]:
        """Do `work` in one transaction, at most once per key, and answer what it returns with `status`.

        `asked` is the request's body, compared where the key was used before. Raises ServiceError.
        """

        async def attempt(tx: Transaction) -> Answer:
            if self.key is None:
                return await _first(tx, work, status)
            return await self._once(tx, self.key, asked, lambda: self._answer(tx, work, status))

        return _respond(await self._database.run(self.environment_id, attempt))

    async def answered(self, asked: msgspec.Struct) -> ExactResponse[Any] | None:
        """The answer that the key has already; None where it has none. For work that begins outside the database.

        Raises ServiceError where the key was used for another request.
        """
        key = self.key
        if key is None:
            return None

        async def look(tx: Transaction) -> Answer | None:
            if await store.read_key(tx, self.route, key) is None:
                return None
            return await self._replay(tx, key, encode({"path": self._path_params, "body": asked}))

        answer = await self._database.run(self.environment_id, look)
        return None if answer is None else _respond(answer)

    async def _once(
        self, tx: Transaction, key: str, asked: msgspec.Struct, answer: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        request = encode({"path": self._path_params, "body": asked})
        try:
            claimed = await store.claim_key(tx, self.route, key, request.decode(), self.asked_at)
        except LockTimeoutError as error:
            detail = f"A request with the {HEADER} {key!r} is still under way. Ask again in a moment."
            raise ServiceError(Code.IDEMPOTENCY_KEY_IN_FLIGHT, detail) from error
        if not claimed:
            return await self._replay(tx, key, request)
        first = await answer()
        await store.remember_answer(tx, self.route, key, first.status, first.body)
        return first

    async def _replay(self, tx: Transaction, key: str, request: bytes) -> Answer:
        earlier = await store.read_key(tx, self.route, key)
        if earlier is None:  # it was pruned between the two statements
            raise ServiceError(Code.IDEMPOTENCY_KEY_IN_FLIGHT, f"The {HEADER} {key!r} has just expired. Ask again.")
        if mismatch := _mismatch(earlier.request, request):
            detail = f"The {HEADER} {key!r} was used for a request with another {', '.join(mismatch)}."
            raise ServiceError(Code.IDEMPOTENCY_KEY_REUSED, detail, mismatch=mismatch)
        await dirty.publish_left_over(tx)
        return Answer(earlier.status, earlier.body, replayed=True)

    async def _answer(self, tx: Transaction, work: Work[Body], status: int) -> Answer:
        """The answer to a request that was not asked before; of a refusal nothing remains but itself."""
        try:
            async with tx.connection.transaction():
                return await _first(tx, work, status)
        except ServiceError as error:
            if status_of(error.code) not in STORED_REFUSALS:
                raise
            tx.marked.clear()
            tx.whole_environment = False
            return Answer(status_of(error.code), problem_body(error, self._request_id))


def provide_mutation(
    request: Request[Principal, Any, State],
    database: NamedDependency[Database],
    clock: NamedDependency[Clock],
    machine_clock: NamedDependency[Clock],
) -> Mutation:
    """The request under way, as handlers take it."""
    return Mutation(request, database, clock.now(), machine_clock.now())


async def _first(tx: Transaction, work: Work[Body], status: int) -> Answer:
    """What the work answers when it is done under this key for the first time, or under none."""
    done = await work(tx)
    if not isinstance(done, Repeated):
        return Answer(status, encode(done))
    await dirty.publish_left_over(tx)
    return Answer(status, encode(done.body), replayed=True)


def _key_of(request: Request[Principal, Any, State]) -> str | None:
    key = request.headers.get(HEADER)
    if key is not None and not (1 <= len(key) <= MAX_KEY_LENGTH and key.isascii() and key.isprintable()):
        raise invalid_value(HEADER, f"must have 1 to {MAX_KEY_LENGTH} printable ASCII characters")
    return key


def _respond(answer: Answer) -> ExactResponse[Any]:
    response: ExactResponse[Any] = ExactResponse(
        answer.body, status_code=answer.status, media_type=CONTENT_TYPE if answer.status >= _FIRST_ERROR else JSON
    )
    if answer.replayed:
        response.set_header(REPLAYED, "true")
    return response


def _mismatch(stored: str, sent: bytes) -> list[str]:
    """Names of the fields that differ between two requests."""
    before, now = _fields(stored), _fields(sent)
    return sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))


def _fields(request: str | bytes) -> dict[str, Any]:
    asked = _decoder.decode(request)
    return asked["body"] | {f"path.{name}": value for name, value in asked["path"].items()}
