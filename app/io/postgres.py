"""The one way to Postgres: `Database.run` gives work a transaction, in which raw SQL and Piccolo share one connection.

The only importer of asyncpg.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self, TypeVar, cast
from uuid import UUID

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from piccolo.engine.postgres import PostgresEngine

from app.errors import ServiceError
from app.io import metrics, tracing
from app.wire.codes import Code

if TYPE_CHECKING:
    Connection = PoolConnectionProxy[asyncpg.Record]
else:  # the stubs know it as generic, asyncpg does not
    Connection = PoolConnectionProxy
Record = asyncpg.Record
Isolation = Literal["read_committed", "repeatable_read", "serializable"]
LockTimeoutError = asyncpg.LockNotAvailableError
UniqueViolationError = asyncpg.UniqueViolationError
DatabaseError = asyncpg.PostgresError
"""What Postgres answers where it refuses: a password, a name, a statement."""
CheckViolationError = asyncpg.CheckViolationError
ForeignKeyViolationError = asyncpg.ForeignKeyViolationError
Result = TypeVar("Result")

APP_NAME = "quotastack"
"""The one Piccolo app."""
MIGRATIONS = Path(__file__).parents[2] / "migrations"
CONNECT_TIMEOUT_SECONDS = 5
ACQUIRE_TIMEOUT_SECONDS = 5
BEGIN_TIMEOUT_SECONDS = 5
"""A connection on which no transaction begins by then leads nowhere: its other end is gone and could not say so."""
WORK_TIMEOUT_SECONDS = 30
"""The same for all that follows, which Postgres bounds by itself as long as it is there."""
CANCEL_TIMEOUT_SECONDS = 2
"""The same for the end of work that was cancelled: Postgres is asked to stop, and then to roll back."""
LOCK_TIMEOUT_MILLISECONDS = 2_000
STATEMENT_TIMEOUT_MILLISECONDS = 10_000
IDLE_TIMEOUT_MILLISECONDS = 10_000
ATTEMPTS = 5
"""How often work is run before a serialization failure or deadlock is given up on."""
RETRY_DELAY_SECONDS = 0.01
"""Upper bound of the random wait before the second attempt; it doubles with each further one."""

_IN_USE = metrics.gauge(
    "quotastack_postgres_connections_in_use", "Connections on which a transaction is under way", ["pool"]
)
_MOST = metrics.gauge("quotastack_postgres_connections_max", "Connections that a pool opens at most", ["pool"])
_open: dict[str, list["asyncpg.Pool[asyncpg.Record]"]] = {}
"""The pools of this process by the names that Postgres shows of them; what is told of a name is that of all of them."""
_SPAN = {"db.system.name": "postgresql"}
_RETRIED = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
_UNAVAILABLE = (
    OSError,  # TimeoutError is one: no connection was free, or none could be made
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.InterfaceError,  # among other things: the connection is closed
    asyncpg.IdleInTransactionSessionTimeoutError,  # this process slept inside a transaction
    asyncpg.InternalClientError,  # and what it finds when it goes on: an answer, and behind it the end of the session
    *_RETRIED,
)


UNSTORABLE = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, ValueError, OverflowError)
"""What a value raises that no column takes, or that a constraint refuses: trying again changes nothing."""


@dataclass(frozen=True, slots=True)
class Changed:
    """Something that a transaction changes, as the audit log tells it (`app.trail.audit`)."""

    environment_id: UUID
    kind: str
    id: str
    before: object | None
    after: object | None


@dataclass(slots=True)
class Transaction:
    """One transaction under way. `marked` and `whole_environment` are set through `app.trail.dirty`."""

    connection: Connection
    environment_id: UUID | None
    """None where the work belongs to no environment: flusher, jobs, signing in."""
    marked: set[UUID] = field(default_factory=set[UUID])
    """Accounts that have to be published anew."""
    whole_environment: bool = False
    unpublished: set[UUID] = field(default_factory=set[UUID])
    """Accounts that an earlier transaction changed and that may still have to be published."""
    changes: list[Changed] = field(default_factory=list[Changed])
    """Set through `app.trail.audit`."""
    touches_ledger: bool = False
    """Whether it writes to the ledger; the idempotency key of what does is never forgotten."""

    async def enter(self, environment_id: UUID) -> None:
        """See and write the rows of this environment, and no others, until the transaction ends.

        One that was begun for an environment stays in it; an operator's goes where it makes something.
        """
        if self.environment_id not in {None, environment_id}:
            message = "a transaction that was begun for an environment enters no other"
            raise RuntimeError(message)
        await self.connection.execute("SELECT set_config('app.environment_id', $1, true)", str(environment_id))

    @property
    def environment(self) -> UUID:
        """The environment of work that cannot be without one."""
        if self.environment_id is None:
            message = "this work needs a transaction that was begun for an environment"
            raise RuntimeError(message)
        return self.environment_id


async def _nothing_before_commit(_tx: Transaction) -> None:
    pass


async def _nothing_after_commit(_environment_id: UUID, _marked: frozenset[UUID]) -> None:
    pass


@dataclass(frozen=True, slots=True)
class TransactionHooks:
    """What happens to marked accounts: inside the transaction, and after it but before `run` returns."""

    before_commit: Callable[[Transaction], Awaitable[None]] = _nothing_before_commit
    after_commit: Callable[[UUID, frozenset[UUID]], Awaitable[None]] = _nothing_after_commit


class TransactionEngine(PostgresEngine):
    """Runs Piccolo's queries on the connection of the transaction under way; never connects by itself."""

    async def check_version(self) -> None:
        """Nothing: the server is not asked while modules are imported."""

    async def prep_database(self) -> None:
        """Nothing: extensions are a matter of migrations."""

    async def get_new_connection(self) -> NoReturn:
        """Raise: outside a transaction there is no environment, so no query may run."""
        message = "a Piccolo query ran outside Database.run"
        raise RuntimeError(message)

    def current(self) -> Transaction:
        """The transaction under way in this task; raises RuntimeError where there is none."""
        transaction = self.current_transaction.get()
        if transaction is None:
            message = "there is no transaction under way"
            raise RuntimeError(message)
        return cast("Transaction", transaction)


ENGINE = TransactionEngine(config={"database": APP_NAME})
"""What every table is declared with (`db=ENGINE`)."""


class Database:
    """A pool of connections, and the one way to use it."""

    def __init__(
        self, name: str, pool: "asyncpg.Pool[asyncpg.Record]", hooks: TransactionHooks, work_seconds: float | None
    ) -> None:
        self._name = name
        self._pool = pool
        self._hooks = hooks
        self._work_seconds = work_seconds

    @classmethod
    async def open(
        cls,
        url: str,
        application_name: str,
        max_size: int,
        hooks: TransactionHooks | None = None,
        *,
        settings: Mapping[str, str] = MappingProxyType({}),
        work_seconds: float | None = WORK_TIMEOUT_SECONDS,
    ) -> Self:
        """Connect once and keep at most `max_size` connections; raises OSError or PostgresError where that fails.

        `settings` are of Postgres, for these connections, beside or in place of ours. Work that takes
        longer than `work_seconds` is given up, and its connection with it; None where it may read a whole ledger.
        """
        pool = await asyncpg.create_pool(
            url,
            min_size=1,
            max_size=max_size,
            timeout=CONNECT_TIMEOUT_SECONDS,
            reset=_keep_session,
            server_settings={
                "application_name": application_name,
                "timezone": "UTC",
                "lock_timeout": str(LOCK_TIMEOUT_MILLISECONDS),
                "statement_timeout": str(STATEMENT_TIMEOUT_MILLISECONDS),
                "idle_in_transaction_session_timeout": str(IDLE_TIMEOUT_MILLISECONDS),
                **settings,
            },
        )
        _count(application_name, pool)
        return cls(application_name, pool, hooks or TransactionHooks(), work_seconds)

    async def close(self) -> None:
        """Close every connection; those in use are waited for."""
        try:
            await self._pool.close()
        finally:
            _count_no_more(self._name, self._pool)

    async def run(
        self,
        environment_id: UUID | None,
        work: Callable[[Transaction], Awaitable[Result]],
        *,
        isolation: Isolation = "read_committed",
    ) -> Result:
        """Run `work` in a transaction of its own, seeing the rows of `environment_id` only, and commit.

        Work may run several times: after a serialization failure or a deadlock it starts again. Where the connection is
        lost during the commit, nobody knows what became of it: 503, and the client's retry with its key finds out.
        Raises ServiceError store_unavailable where Postgres cannot be reached or does not answer in time.
        """
        if ENGINE.current_transaction.get() is not None:
            message = "transactions do not nest: hand the one under way down"
            raise RuntimeError(message)
        try:
            with tracing.part("postgres transaction", _SPAN, kind="client"):
                result, marked = await self._with_retries(environment_id, work, isolation)
        except _UNAVAILABLE as error:
            if isinstance(error, ValueError):
                raise  # not the connection is at fault, but an argument that does not fit its statement
            detail = "The database does not answer at this moment. Try again with the same idempotency key."
            raise ServiceError(Code.STORE_UNAVAILABLE, detail) from error
        if environment_id is not None and marked:
            await self._hooks.after_commit(environment_id, marked)
        return result

    async def _with_retries(
        self, environment_id: UUID | None, work: Callable[[Transaction], Awaitable[Result]], isolation: Isolation
    ) -> tuple[Result, frozenset[UUID]]:
        for attempt in range(1, ATTEMPTS):
            try:
                return await self._attempt(environment_id, work, isolation)
            except _RETRIED:
                longest_seconds = RETRY_DELAY_SECONDS * 2**attempt
                await asyncio.sleep(random.uniform(0, longest_seconds))  # noqa: S311 - jitter, not a secret
        return await self._attempt(environment_id, work, isolation)

    async def _attempt(
        self, environment_id: UUID | None, work: Callable[[Transaction], Awaitable[Result]], isolation: Isolation
    ) -> tuple[Result, frozenset[UUID]]:
        async with (
            self._pool.acquire(timeout=ACQUIRE_TIMEOUT_SECONDS) as connection,
            _closed_when_useless(connection),
            asyncio.timeout(BEGIN_TIMEOUT_SECONDS) as beginning,
            _closed_after(connection, self._work_seconds) as bound,
            connection.transaction(isolation=isolation),
        ):
            beginning.reschedule(None)
            tx = Transaction(connection, environment_id)
            token = ENGINE.current_transaction.set(cast("Any", tx))
            try:
                if environment_id is not None:
                    await tx.enter(environment_id)
                result = await work(tx)
                if tx.whole_environment:
                    bound.set(None)  # every account is composed anew: Postgres alone says how long that may take
                if tx.marked or tx.whole_environment:
                    await self._hooks.before_commit(tx)
                bound.set(self._work_seconds)
            except asyncio.CancelledError as cancelled:
                bound.cancel(cancelled)
                raise
            finally:
                ENGINE.current_transaction.reset(token)
        return result, frozenset(tx.marked | tx.unpublished)


def _count(name: str, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    pools = _open.setdefault(name, [])
    pools.append(pool)
    _IN_USE.labels(name).set_function(lambda: sum(each.get_size() - each.get_idle_size() for each in pools))
    _MOST.labels(name).set_function(lambda: sum(each.get_max_size() for each in pools))


def _count_no_more(name: str, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    if pool not in (pools := _open.get(name, [])):
        return  # closed before
    pools.remove(pool)
    if not pools:
        del _open[name]
        for gauge in (_IN_USE, _MOST):
            gauge.remove(name)


class _Bound:
    """Closes a connection where what is done on it takes too long: cancelling it would wait for an answer, too."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._timer: asyncio.TimerHandle | None = None
        self.cancelled: asyncio.CancelledError | None = None

    def set(self, seconds: float | None) -> None:
        """Count from now on; None = it may take as long as it takes."""
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = None if seconds is None else loop.call_later(seconds, self._connection.terminate)

    def cancel(self, cancelled: asyncio.CancelledError) -> None:
        """Have the end of cancelled work take no longer than that may."""
        self.cancelled = cancelled
        self.set(CANCEL_TIMEOUT_SECONDS)


@asynccontextmanager
async def _closed_after(connection: Connection, seconds: float | None) -> AsyncGenerator[_Bound]:
    """Bound all of a transaction, its commit or rollback among it."""
    bound = _Bound(connection)
    bound.set(seconds)
    try:
        yield bound
    except _UNAVAILABLE:
        if bound.cancelled is not None:
            raise bound.cancelled from None  # no answer to the rollback is no news to whoever gave up
        raise
    finally:
        bound.set(None)


@asynccontextmanager
async def _closed_when_useless(connection: Connection) -> AsyncGenerator[None]:
    """Close the connection where Postgres did not answer in time, or where the client lost the thread of its answers.

    Whatever was asked of it next would wait or fail too.
    """
    try:
        yield
    except (TimeoutError, asyncpg.InternalClientError):
        connection.terminate()
        raise


async def _keep_session(_connection: object) -> None:
    """Spare the round trip that resets a session: whatever a transaction sets here is local to it."""


def known_steps() -> list[str]:
    """Ids of the migrations of this release, in order."""
    return sorted(path.stem for path in (MIGRATIONS / "sql").glob("*.sql"))


async def applied_steps(connection: Connection) -> list[str]:
    """Ids of the migrations that have run on this database, in order."""
    if await connection.fetchval("SELECT to_regclass('migration') IS NULL"):
        return []
    rows = await connection.fetch("SELECT name FROM migration WHERE app_name = $1 ORDER BY name", APP_NAME)
    return [row["name"] for row in rows]
