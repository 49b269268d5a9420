"""One transaction for raw SQL and Piccolo, with bounds on everything that can go wrong around it."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import asyncpg
import pytest

from app.customers.tables import Customer
from app.errors import ServiceError
from app.io import postgres
from app.io.metrics import REGISTRY
from app.io.postgres import ENGINE, Database, Transaction, TransactionHooks
from app.wire.codes import Code
from tests.conftest import DatabaseUrls
from tests.waiting import wait_until_async

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ADD_NOTE = "INSERT INTO notes (id, text) VALUES ($1, $2)"


@pytest.fixture
async def database(urls: DatabaseUrls) -> AsyncIterator[Database]:
    """The owner's database, with a table to write to."""
    opened = await Database.open(urls.owner, "test", 4)
    await opened.run(None, lambda tx: tx.connection.execute("CREATE TABLE notes (id int PRIMARY KEY, text text)"))
    yield opened
    await opened.close()


async def make_environment(database: Database) -> UUID:
    """An environment that customers can be in."""
    environment_id, tenant_id = uuid4(), uuid4()

    async def work(tx: Transaction) -> None:
        await tx.connection.execute("INSERT INTO tenants VALUES ($1, 'acme', $2)", tenant_id, NOW)
        row = (environment_id, tenant_id, NOW)
        await tx.connection.execute("INSERT INTO environments VALUES ($1, $2, 'live', $3)", *row)

    await database.run(None, work)
    return environment_id


def connections(what: str, pool: str) -> float | None:
    """What is told of a pool; None: nothing."""
    return REGISTRY.get_sample_value(f"quotastack_postgres_connections_{what}", {"pool": pool})


async def test_each_pool_is_counted_by_its_name(urls: DatabaseUrls) -> None:
    """Whichever was opened last; those of one name together, and none that is closed."""
    opened = [await Database.open(urls.owner, name, size) for name, size in (("one", 1), ("two", 2), ("two", 3))]

    async def look(_tx: Transaction) -> list[float | None]:
        return [connections("in_use", name) for name in ("one", "two")]

    assert [connections("max", name) for name in ("one", "two")] == [1, 5]
    assert [await database.run(None, look) for database in opened] == [[1, 0], [0, 1], [0, 1]]
    one, two, other = opened
    await other.close()
    await one.close()
    await one.close()
    assert [connections("max", name) for name in ("one", "two")] == [None, 2]
    assert await two.run(None, look) == [None, 1]
    await two.close()
    assert [connections(what, "two") for what in ("max", "in_use")] == [None, None]


async def test_a_transaction_stays_in_its_environment(database: Database) -> None:
    """Work that was begun for one cannot go to another; work that was begun for none may go anywhere."""
    ours, theirs = [await make_environment(database) for _ in range(2)]

    async def seen(tx: Transaction) -> str:
        await tx.enter(theirs)
        return await tx.connection.fetchval("SELECT current_setting('app.environment_id')")

    with pytest.raises(RuntimeError, match="enters no other"):
        await database.run(ours, seen)
    assert await database.run(None, seen) == str(theirs)
    assert await database.run(theirs, seen) == str(theirs)


async def count_notes(database: Database) -> int:
    """Rows of the table."""
    return await database.run(None, lambda tx: tx.connection.fetchval("SELECT count(*) FROM notes"))


async def test_piccolo_and_raw_sql_share_the_transaction(database: Database) -> None:
    """Each sees what the other wrote, on one connection, and both go when it is rolled back."""
    environment_id = await make_environment(database)
    customer = Customer(environment_id=environment_id, id=uuid4(), end_user_id="u", created_at=NOW)

    async def work(tx: Transaction) -> None:
        await Customer.insert(customer)
        assert await tx.connection.fetchval("SELECT count(*) FROM customers") == 1
        await tx.connection.execute("UPDATE customers SET end_user_id = 'v'")
        assert await Customer.select(Customer.end_user_id) == [{"end_user_id": "v"}]
        pid = await tx.connection.fetchval("SELECT pg_backend_pid()")
        assert (await Customer.raw("SELECT pg_backend_pid() AS pid"))[0]["pid"] == pid
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await database.run(environment_id, work)
    assert await database.run(environment_id, lambda _: Customer.count().run()) == 0


async def test_a_piccolo_query_outside_a_transaction_is_an_error() -> None:
    """It would see every environment, or none."""
    with pytest.raises(RuntimeError, match=r"outside Database\.run"):
        await Customer.select()
    with pytest.raises(RuntimeError, match="no transaction"):
        ENGINE.current()


async def test_transactions_do_not_nest(database: Database) -> None:
    """The inner one would wait for a connection while it holds one."""

    async def work(_: Transaction) -> None:
        await count_notes(database)

    with pytest.raises(RuntimeError, match="do not nest"):
        await database.run(None, work)


async def test_the_environment_is_set_for_the_transaction_only(urls: DatabaseUrls) -> None:
    """A connection that goes back to the pool remembers nothing."""
    database = await Database.open(urls.of("quotastack_core"), "test", 1)
    environment_id = uuid4()

    async def read(tx: Transaction) -> str | None:
        return await tx.connection.fetchval("SELECT current_setting('app.environment_id', true)")

    assert await database.run(environment_id, read) == str(environment_id)
    assert not await database.run(None, read)
    await database.close()


async def test_hooks_run_around_the_commit(urls: DatabaseUrls, database: Database) -> None:
    """Before: inside, seeing what was marked. After: once it is committed, before `run` returns. Only if marked."""
    seen: list[object] = []
    environment_id = await make_environment(database)

    async def before(tx: Transaction) -> None:
        seen.append(("before", set(tx.marked)))
        await tx.connection.execute(ADD_NOTE, 2, "of the hook")

    async def after(environment: UUID, marked: frozenset[UUID]) -> None:
        seen.append(("after", environment, marked, await count_notes(database)))

    hooked = await Database.open(urls.owner, "test", 2, TransactionHooks(before, after))
    account_id = uuid4()

    async def work(tx: Transaction) -> str:
        await tx.connection.execute(ADD_NOTE, 1, "of the work")
        tx.marked.add(account_id)
        return "done"

    assert await hooked.run(environment_id, work) == "done"
    assert seen == [("before", {account_id}), ("after", environment_id, frozenset({account_id}), 2)]
    with pytest.raises(asyncpg.UniqueViolationError):
        await hooked.run(environment_id, work)
    await hooked.run(environment_id, lambda tx: tx.connection.execute("SELECT 1"))
    assert len(seen) == 2
    await hooked.close()


async def test_deadlocks_are_run_again(database: Database) -> None:
    """Two transactions that lock the same rows in opposite orders both end well."""
    await database.run(None, lambda tx: tx.connection.execute("INSERT INTO notes VALUES (1, ''), (2, '')"))
    first_steps = asyncio.Barrier(2)
    attempts = 0

    async def lock(first: int, second: int) -> None:
        async def work(tx: Transaction) -> None:
            nonlocal attempts
            attempts += 1
            await tx.connection.execute("UPDATE notes SET text = text || 'x' WHERE id = $1", first)
            if attempts <= 2:
                await first_steps.wait()
            await tx.connection.execute("UPDATE notes SET text = text || 'x' WHERE id = $1", second)

        await database.run(None, work)

    await asyncio.gather(lock(1, 2), lock(2, 1))
    texts = await database.run(None, lambda tx: tx.connection.fetch("SELECT text FROM notes"))
    assert [row["text"] for row in texts] == ["xx", "xx"]
    assert attempts == 3


async def test_retries_are_bounded(database: Database) -> None:
    """What fails each time is given up on with 503."""
    attempts = 0

    async def work(tx: Transaction) -> None:
        nonlocal attempts
        attempts += 1
        await tx.connection.execute("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$")

    with pytest.raises(ServiceError) as refused:
        await database.run(None, work)
    assert (refused.value.code, attempts) == (Code.STORE_UNAVAILABLE, postgres.ATTEMPTS)


async def test_a_failing_commit_gives_its_connection_back(urls: DatabaseUrls) -> None:
    """With one connection in all, the next transaction finds it."""
    database = await Database.open(urls.owner, "test", 1)

    async def work(tx: Transaction) -> None:
        await tx.connection.execute("CREATE TEMP TABLE late (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
        await tx.connection.execute("INSERT INTO late VALUES (1), (1)")

    for _ in range(2):
        with pytest.raises(asyncpg.UniqueViolationError):
            await database.run(None, work)
    assert await database.run(None, lambda tx: tx.connection.fetchval("SELECT 1")) == 1
    await database.close()


async def test_a_lost_connection_is_503(database: Database) -> None:
    """And the pool makes another one."""

    async def work(tx: Transaction) -> None:
        await tx.connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    for _ in range(5):
        with pytest.raises(ServiceError) as refused:
            await database.run(None, work)
        assert refused.value.code is Code.STORE_UNAVAILABLE
    assert await count_notes(database) == 0


@pytest.mark.usefixtures("database")
async def test_a_cancelled_transaction_leaves_nothing(urls: DatabaseUrls) -> None:
    """A client that goes away in the middle takes neither the connection nor half of its work along."""
    single = await Database.open(urls.owner, "sleeper", 1)
    waiting = asyncio.Event()

    async def work(tx: Transaction) -> None:
        await tx.connection.execute(ADD_NOTE, 1, "half")
        waiting.set()
        await tx.connection.execute("SELECT pg_sleep(60)")

    task = asyncio.create_task(single.run(None, work))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await count_notes(single) == 0
    await single.close()


async def fall_silent(tx: Transaction) -> int:
    """Have the session of a transaction answer nothing; its process, which somebody has to wake up."""
    session = await tx.connection.fetchval("SELECT pg_backend_pid()")
    os.kill(session, signal.SIGSTOP)
    return session


async def test_a_silent_commit_is_bounded(urls: DatabaseUrls) -> None:
    """It is work like any other: 503, and a new connection for who comes next."""
    single, sessions = await Database.open(urls.owner, "test", 1, work_seconds=0.2), list[int]()

    async def work(tx: Transaction) -> None:
        sessions.append(await fall_silent(tx))

    try:
        with pytest.raises(ServiceError) as refused:
            await single.run(None, work)
        assert refused.value.code is Code.STORE_UNAVAILABLE
        assert await single.run(None, lambda tx: tx.connection.fetchval("SELECT 1")) == 1
    finally:
        os.kill(sessions[0], signal.SIGCONT)
    await single.close()


async def test_cancelled_work_waits_for_no_silent_postgres(urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the work itself may take; whoever cancelled it hears of nothing else."""
    monkeypatch.setattr(postgres, "CANCEL_TIMEOUT_SECONDS", 0.2)
    single, silent = await Database.open(urls.owner, "test", 1, work_seconds=None), asyncio.Future[int]()

    async def work(tx: Transaction) -> None:
        silent.set_result(await fall_silent(tx))
        await tx.connection.execute("SELECT 1")

    task = asyncio.create_task(single.run(None, work))
    session = await silent
    try:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await single.run(None, lambda tx: tx.connection.fetchval("SELECT 1")) == 1
    finally:
        os.kill(session, signal.SIGCONT)
    await single.close()


async def test_waiting_is_bounded(urls: DatabaseUrls, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a lock, and for a connection: 503 instead of a queue without end."""
    monkeypatch.setattr(postgres, "LOCK_TIMEOUT_MILLISECONDS", 50)
    monkeypatch.setattr(postgres, "ACQUIRE_TIMEOUT_SECONDS", 0.05)
    single = await Database.open(urls.owner, "test", 1)
    held, release = asyncio.Event(), asyncio.Event()

    async def hold(tx: Transaction) -> None:
        await tx.connection.execute("LOCK TABLE notes")
        held.set()
        await release.wait()

    holder = asyncio.create_task(database.run(None, hold))
    await held.wait()
    refused = await asyncio.gather(count_notes(single), count_notes(single), return_exceptions=True)
    assert [getattr(error, "code", None) for error in refused] == 2 * [Code.STORE_UNAVAILABLE]
    causes = {type(getattr(error, "__cause__", None)) for error in refused}
    assert causes == {TimeoutError, asyncpg.LockNotAvailableError}
    release.set()
    await holder
    await single.close()


async def test_a_mistake_of_ours_is_not_a_store_that_is_away(database: Database) -> None:
    """An argument that does not fit its statement shows as what it is."""
    with pytest.raises(asyncpg.DataError, match="invalid input for query argument"):
        await database.run(None, lambda tx: tx.connection.execute(ADD_NOTE, "one", "text"))


async def test_sessions_name_themselves(urls: DatabaseUrls, database: Database) -> None:
    """An operator sees in pg_stat_activity whose connection it is."""
    named = await Database.open(urls.owner, "quotastack core", 1)

    async def is_there() -> bool:
        statement = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'quotastack core'"
        return await database.run(None, lambda tx: tx.connection.fetchval(statement)) == 1

    await wait_until_async(is_there, 5, "the session to show")
    await named.close()
