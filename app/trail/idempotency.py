"""One way for every request that changes something: key, effect, answer and audit row commit together.

The key's row is inserted first, so a twin waits for it. A replay answers the stored status and bytes; another request
under the same key is refused and named. Refusals that are about the state of things (402, 404, 409) are answers like
any other and are stored; validation errors, failures, and what passes by itself are not.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, Protocol, Self, TypeVar, runtime_checkable
from uuid import UUID

import msgspec
from litestar import Request
from litestar.datastructures import State
from litestar.di import NamedDependency

from app.errors import ServiceError, invalid_value
from app.io.clock import Clock
from app.io.postgres import Database, LockTimeoutError, Transaction
from app.trail import audit, dirty, store
from app.trail.audit import Occasion
from app.trail.store import KeyInUse
from app.web.bodies import JSON, ExactResponse, encode
from app.web.outer import request_id_of
from app.web.principal import Principal
from app.web.problems import problem_body, status_of
from app.wire.codes import Code
from app.wire.problem import CONTENT_TYPE

Body = TypeVar("Body", bound=msgspec.Struct)
Done = TypeVar("Done")
HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
MAX_KEY_LENGTH = 255
STORED_REFUSALS = frozenset({402, 404, 409})
PASSING = frozenset({Code.EVENT_PENDING, Code.IDEMPOTENCY_KEY_IN_FLIGHT, Code.TOO_MANY_REPLAYS})
"""Refusals that are over in a moment by themselves: they are not stored, whatever their status."""
_CREATED = 201
_FIRST_ERROR = 400

_decoder = msgspec.json.Decoder(float_hook=Decimal)


class NoBody(msgspec.Struct, frozen=True):
    """What is asked by a request that says it all in its path."""


class InQuery(msgspec.Struct, frozen=True):
    """What is asked in the query of a request, which has no body then."""


class Answer(msgspec.Struct, frozen=True):
    """A status and the exact bytes of a body; `replayed` where they were stored before.

    `kept` is the body as it is stored: without its secrets, which are shown once.
    """

    status: int
    body: bytes
    kept: bytes
    replayed: bool = False


class Repeated(msgspec.Struct, frozen=True):
    """What work returns where all that was asked had been done before, under whatever key: `body` is the answer then.

    It is answered as a replay is.
    """

    body: msgspec.Struct


class Unchanged(msgspec.Struct, frozen=True):
    """What work returns where nothing was to change, for it was only asked what would: `body` is the answer."""

    body: msgspec.Struct


@runtime_checkable
class HoldsSecrets(Protocol):
    """A body with something that is shown once, and stored nowhere: neither beside the key nor in the audit log."""

    def without_secrets(self) -> Self:
        """The same with null in the place of each secret: what a replay answers."""
        ...


Work = Callable[[Transaction], Awaitable[Body | Repeated | Unchanged]]


class KeyedRequest:
    """A request that changes something, and its key if it has one."""

    def __init__(
        self,
        request: Request[Any, Any, State],
        database: Database,
        asked_at: datetime,
        actor: str,
        environment_id: UUID | None,
    ) -> None:
        self.asked_at = asked_at
        """What time it really is: how long a key is remembered follows from it."""
        self.key = _key_of(request)
        self.actor = actor
        self.route = f"{request.method} {request.scope['path_template']}"
        self._scope = environment_id
        self._database = database
        self._path_params: dict[str, Any] = request.path_params
        self._request_id = request_id_of(request.scope)

    async def run(self, asked: msgspec.Struct, work: Work[Body], *, status: int = _CREATED) -> ExactResponse[Body]:
        """Do `work` in one transaction, at most once per key, and answer what it returns with `status`.

        `asked` is the request's body, compared where the key was used before. Raises ServiceError.
        """

        async def attempt(tx: Transaction) -> Answer:
            if self.key is None:
                return await self._first(tx, asked, work, status)
            return await self._once(tx, self.key, asked, lambda: self._answer(tx, asked, work, status))

        return _respond(await self._database.run(self._scope, attempt))

    async def _once(
        self, tx: Transaction, key: str, asked: msgspec.Struct, answer: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        request = self._request(asked)
        try:
            earlier = await store.claim_key(tx, self.route, key, request.decode(), self.asked_at)
        except LockTimeoutError as error:
            detail = f"A request with the {HEADER} {key!r} is still under way. Ask again in a moment."
            raise ServiceError(Code.IDEMPOTENCY_KEY_IN_FLIGHT, detail) from error
        if earlier is not None:
            return await self._replay(tx, key, earlier, request)
        first = await answer()
        await store.remember_answer(tx, self.route, key, first.status, first.kept)
        return first

    async def _replay(self, tx: Transaction, key: str, earlier: KeyInUse, request: bytes) -> Answer:
        if mismatch := _mismatch(earlier.request, request):
            differing = ", ".join(f"`{name}`" for name in mismatch)
            detail = f"The {HEADER} {key!r} was used for a request with another value of {differing}. Use a new key."
            raise ServiceError(Code.IDEMPOTENCY_KEY_REUSED, detail, mismatch=mismatch)
        if self._scope is not None:
            await dirty.publish_left_over(tx)
        return Answer(earlier.status, earlier.body, earlier.body, replayed=True)

    async def _answer(self, tx: Transaction, asked: msgspec.Struct, work: Work[Body], status: int) -> Answer:
        """The answer to a request that was not asked before; of a refusal nothing remains but itself."""
        try:
            async with tx.connection.transaction():
                return await self._first(tx, asked, work, status)
        except ServiceError as error:
            if not is_stored(error.code):
                raise
            tx.marked.clear()
            tx.changes.clear()
            tx.whole_environment = tx.touches_ledger = False
            refusal = problem_body(error, self._request_id)
            return Answer(status_of(error.code), refusal, refusal)

    async def _first(self, tx: Transaction, asked: msgspec.Struct, work: Work[Body], status: int) -> Answer:
        """What the work answers when it is done under this key for the first time, or under none."""
        done = await work(tx)
        match done:
            case Repeated(body=body):
                await dirty.publish_left_over(tx)
                return _answer_of(status, body, replayed=True)
            case Unchanged(body=body):
                tx.touches_ledger = False
                return _answer_of(status, body)
            case body:
                answer = _answer_of(status, body)
                await audit.record(tx, self._occasion(asked), status, answer.kept)
                return answer

    def _occasion(self, asked: msgspec.Struct) -> Occasion:
        return Occasion(
            at=self.asked_at,
            actor=self.actor,
            request_id=self._request_id,
            route=self.route,
            request=self._request(asked).decode(),
            reason=getattr(asked, "reason", None),
            idempotency_key=self.key,
        )

    def _request(self, asked: msgspec.Struct) -> bytes:
        """All that was asked, as JSON and without secrets: what is compared, and told."""
        parts: dict[str, Any] = {"query": asked, "body": {}} if isinstance(asked, InQuery) else {"body": _kept(asked)}
        return encode({"path": self._path_params, **parts})


class Mutation(KeyedRequest):
    """A request that changes something in one environment."""

    def __init__(
        self, request: Request[Principal, Any, State], database: Database, now: datetime, asked_at: datetime
    ) -> None:
        super().__init__(request, database, asked_at, request.user.actor, request.user.environment_id)
        self.now = now
        """What time it is in the environment, perhaps by a test clock."""
        self.environment_id = request.user.environment_id

    async def run_outside(
        self,
        asked: msgspec.Struct,
        doing: Callable[[], Awaitable[Done]],
        answer: Callable[[Transaction, Done], Awaitable[Body | Repeated | Unchanged]],
        *,
        status: int = _CREATED,
    ) -> ExactResponse[Body]:
        """Do what is not done in a transaction of core, such as an order; then `answer` what became of it.

        `doing` must be safe to repeat: where core dies before the answer is stored, whoever asks again does it again.
        Its refusals are stored as those of `run` are. The audit row is written with the answer, so once, after whatever
        crash; and the key stays as long as the ledger, for what was done is found again under it. Raises ServiceError.
        """
        if (answered := await self._answered(asked)) is not None:
            return answered
        try:
            done = await doing()
        except ServiceError as error:
            if not is_stored(error.code):
                raise
            return await self.run(asked, partial(_refuse, error))

        async def work(tx: Transaction) -> Body | Repeated | Unchanged:
            tx.touches_ledger = True
            return await answer(tx, done)

        return await self.run(asked, work, status=status)

    async def _answered(self, asked: msgspec.Struct) -> ExactResponse[Any] | None:
        """The answer that the key has already; None where it has none. Raises ServiceError for another request."""
        key = self.key
        if key is None:
            return None

        async def look(tx: Transaction) -> Answer | None:
            earlier = await store.read_key(tx, self.route, key)
            return None if earlier is None else await self._replay(tx, key, earlier, self._request(asked))

        answer = await self._database.run(self.environment_id, look)
        return None if answer is None else _respond(answer)


class OperatorMutation(KeyedRequest):
    """A request of the operator, which belongs to no environment. Its work says what it changes in which."""

    def __init__(self, request: Request[None, Any, State], database: Database, asked_at: datetime) -> None:
        super().__init__(request, database, asked_at, audit.OPERATOR, None)


def provide_mutation(
    request: Request[Principal, Any, State],
    database: NamedDependency[Database],
    clock: NamedDependency[Clock],
    machine_clock: NamedDependency[Clock],
) -> Mutation:
    """The request under way, as handlers take it."""
    return Mutation(request, database, clock.now(), machine_clock.now())


def provide_operator_mutation(
    request: Request[None, Any, State], database: NamedDependency[Database], machine_clock: NamedDependency[Clock]
) -> OperatorMutation:
    """The operator's request under way, as handlers take it."""
    return OperatorMutation(request, database, machine_clock.now())


async def _refuse(refused: ServiceError, _tx: Transaction) -> Any:  # noqa: ANN401 - it never answers
    raise refused


def is_stored(code: Code) -> bool:
    """Whether a refusal is an answer that stays: it follows from how things stand, and the client has to act on it."""
    return status_of(code) in STORED_REFUSALS and code not in PASSING


def _answer_of(status: int, body: msgspec.Struct, *, replayed: bool = False) -> Answer:
    return Answer(status, encode(body), encode(_kept(body)), replayed)


def _kept(body: msgspec.Struct) -> msgspec.Struct:
    return body.without_secrets() if isinstance(body, HoldsSecrets) else body


def _key_of(request: Request[Any, Any, State]) -> str | None:
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
    path = {f"path.{name}": value for name, value in asked["path"].items()}
    return asked["body"] | asked.get("query", {}) | path
