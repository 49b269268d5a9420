"""Drift is found by two looks and named, and nothing is taken for drift that is none."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg
import pytest

from app.embedded.postgres import SUPERUSER, EmbeddedPostgres
from app.embedded.valkey import EmbeddedValkey
from app.flusher.loop import Flusher, Keeping
from app.io.clock import Clock
from app.io.edge_accounts import read_edge_accounts
from app.io.postgres import Database
from app.io.stream import StreamConnection
from app.jobs.reconcile import Reconciler
from app.ledger import checkpoints
from app.wire import keys
from app.wire.events import parse_stream_id, show_stream_id
from app.wire.reservations import ReservationState
from tests.flusher.world import AGREEMENT, CREDIT, World

BOUND_ROUNDS = 3
"""By then a small ledger has been looked at twice."""


@asynccontextmanager
async def reconciling(world: World) -> AsyncIterator[Reconciler]:
    """What jobs runs, a round at a time."""
    database = await Database.open(world.urls["quotastack_jobs"], "jobs", 2)
    try:
        yield Reconciler(database, world.redis, Clock())
    finally:
        await database.close()


async def found(reconciler: Reconciler) -> int:
    """How many accounts are adrift after one more round."""
    assert await reconciler.round() >= 0
    return reconciler.adrift


async def adrift(world: World) -> list[tuple[UUID, str]]:
    """Accounts that are noted, and the invariants that do not hold."""
    rows = await world.ledger("SELECT account_id, findings FROM drifting_accounts ORDER BY account_id")
    return [
        (row["account_id"], ",".join(part.partition(":")[0] for part in row["findings"].split("; "))) for row in rows
    ]


async def settle(world: World) -> UUID:
    """One customer of several whose usage is posted; the account."""
    customer = await world.customer("u", 100)
    await world.customer("v", 100)
    async with world.flusher():
        for number in range(3):
            await world.use("u", f"k{number}", 2)
        await world.use("v", "k", 1)
        await world.reserve("v", 1, 5)
        await world.posted(4)
        await world.at_rest("u")
        await world.at_rest("v")
    return customer


async def test_nothing_is_adrift(world: World) -> None:
    """At rest, with entries that wait, with repeats beyond their window, and with an edge that knows nobody."""
    await settle(world)
    async with reconciling(world) as reconciler:
        assert [await found(reconciler) for _ in range(BOUND_ROUNDS)] == [0] * BOUND_ROUNDS
        await world.use("u", "under way", 3)
        await world.end("v", 1, ReservationState.COMMITTED, 5, used=2)
        assert [await found(reconciler) for _ in range(BOUND_ROUNDS)] == [0] * BOUND_ROUNDS
        await world.forget("u", "k1")
        await world.use("u", "k1", 2)
        async with world.flusher():
            await world.posted(6)
            await world.at_rest("u")
            assert await found(reconciler) == 0
        await world.redis.client.flushall()
        assert [await found(reconciler) for _ in range(BOUND_ROUNDS)] == [0] * BOUND_ROUNDS
    assert (await world.ledger("SELECT accounts FROM reconciliation"))[0]["accounts"] == 2


@pytest.mark.parametrize(
    ("field", "by", "invariants"),
    [
        ("base", CREDIT, "42"),
        ("accepted", 1, "34"),
        ("applied", -CREDIT, "42"),
        ("revision", 1, "37"),
        ("revision", -1, "42"),
    ],
)
async def test_an_edge_that_differs_is_found_and_named(world: World, field: str, by: int, invariants: str) -> None:
    """Each figure that it decides by; not at the first look, and no longer once it is right again."""
    customer = await settle(world)
    account = keys.account(world.redis.partition(world.ref("u")), world.ref("u"))
    async with reconciling(world) as reconciler:
        await world.redis.client.hincrby(account, field, by)
        assert await found(reconciler) == 0
        assert await found(reconciler) == 1
        assert await adrift(world) == [(customer, invariants)]
        assert (await reconciler.tell()).status == "degraded"
        await world.redis.client.hincrby(account, field, -by)
        assert await found(reconciler) == 0
        assert await adrift(world) == []
        assert (await reconciler.tell()).status == "ok"


async def test_what_cannot_be_read_is_found_and_stops_nothing(world: World) -> None:
    """A figure that is none is drift; an entry of somebody whom no ledger can have is nobody's."""
    customer = await settle(world)
    account = keys.account(world.redis.partition(world.ref("u")), world.ref("u"))
    stranger = keys.account_ref(keys.environment_ref(world.environment_id), "\0")
    async with reconciling(world) as reconciler:
        accepted = await world.redis.client.hget(account, "accepted")
        await world.redis.client.hset(account, "accepted", "abc")
        await world.redis.client.xadd(keys.stream(0), {"a": stranger})
        assert [await found(reconciler) for _ in range(BOUND_ROUNDS)][-1] == 1
        assert await adrift(world) == [(customer, "42")]
        await world.redis.client.hset(account, "accepted", accepted)
        await found(reconciler)
        assert await adrift(world) == []


@pytest.mark.parametrize(
    ("statement", "invariants"),
    [
        ("UPDATE accounts SET total_micro = total_micro + 1 WHERE id = $1", "13,3"),
        ("UPDATE accounts SET debt_micro = debt_micro + 1 WHERE id = $1", "3"),
        ("UPDATE credit_blocks SET remaining_micro = remaining_micro - 1 WHERE account_id = $1", "3"),
        ("UPDATE ledger_lines SET amount_micro = 7 WHERE account_id = $1 AND account_name ^@ 'block'", "13"),
        ("DELETE FROM ledger_transactions WHERE account_id = $1 AND seq = 2", "10"),
        ("UPDATE ledger_transactions SET hash = sha256('x') WHERE account_id = $1 AND seq = 1", "9"),
        ("UPDATE accounts SET head_hash = sha256('x') WHERE id = $1", "9"),
    ],
)  # fmt: skip
async def test_a_ledger_that_differs_is_found_and_named(
    world: World, postgres: EmbeddedPostgres, statement: str, invariants: str
) -> None:
    """Whoever may do anything changes one row: the account that it is of is named, and no other."""
    customer = await world.customer("u", 100)
    async with reconciling(world) as reconciler, world.flusher():
        await checkpoints.take(reconciler._database, world.environment_id, world.clock.now())  # noqa: SLF001 - as jobs does
        for number in range(3):
            await world.use("u", f"k{number}", 2)
            await world.posted(number + 1)
        await world.at_rest("u")
        await world.customer("v", 100)
    superuser = await asyncpg.connect(postgres.url(SUPERUSER, world.urls["owner"].partition("@/")[2].partition("?")[0]))
    try:
        await superuser.execute("SET session_replication_role = replica")
        for table in ("ledger_lines", "ledger_transactions"):
            await superuser.execute(f"ALTER TABLE {table} DISABLE TRIGGER written_once")
        await superuser.execute(statement, customer)
    finally:
        await superuser.close()
    async with reconciling(world) as reconciler:
        assert await found(reconciler) == 0
        assert await found(reconciler) == 1
    assert {account for account, _ in await adrift(world)} == {customer}
    assert invariants in (await adrift(world))[0][1]


async def test_while_redis_is_away_nothing_is_forgotten(world: World, valkey: EmbeddedValkey) -> None:
    """A round tells that it could not look; what is adrift stays adrift until somebody has seen that it is not."""
    await settle(world)
    account = keys.account(world.redis.partition(world.ref("u")), world.ref("u"))
    async with reconciling(world) as reconciler:
        await world.redis.client.hincrby(account, "base", CREDIT)
        assert [await found(reconciler) for _ in range(2)] == [0, 1]
        valkey.stop()
        for _ in range(2):
            with pytest.raises(ExceptionGroup, match="servers that are away"):
                await reconciler.round()
            assert reconciler.adrift == 1
        valkey.start()
        assert await found(reconciler) == 1
        await world.redis.client.hincrby(account, "base", -CREDIT)
        assert await found(reconciler) == 0


async def test_an_edge_that_was_not_told_yet_is_no_drift(world: World) -> None:
    """A grant that core has committed and not published waits for the flusher, however long that takes."""
    await settle(world)
    async with reconciling(world) as reconciler:
        connection = await asyncpg.connect(world.urls["owner"])
        await connection.execute(
            "WITH a AS (UPDATE accounts SET revision = revision + 1 WHERE end_user_id = 'u' RETURNING *) INSERT "
            "INTO dirty_accounts (environment_id, account_id, revision) SELECT environment_id, id, revision FROM a"
        )
        assert [await found(reconciler) for _ in range(2 * BOUND_ROUNDS)] == [0] * 2 * BOUND_ROUNDS
        await connection.execute("DELETE FROM dirty_accounts")
        await connection.close()
        assert await found(reconciler) == 1


async def test_entries_that_are_gone_are_not_taken_for_none(world: World) -> None:
    """A look that began before entries were posted and trimmed cannot sum them, and says so."""
    await settle(world)
    ref = world.ref("u")
    partition = world.redis.partition(ref)
    whole = await read_edge_accounts(world.redis, partition, [ref], (0, 0), 100)
    assert whole.costs_micro is None
    stream = keys.stream(partition)
    [(oldest, _)] = await world.redis.client.xrange(stream, count=1)
    after_first = await read_edge_accounts(world.redis, partition, [ref], parse_stream_id(oldest), 100)
    assert after_first.costs_micro
    await world.redis.client.xtrim(stream, minid=show_stream_id(after_first.published), approximate=False)
    trimmed = await read_edge_accounts(world.redis, partition, [ref], parse_stream_id(oldest), 100)
    assert trimmed.costs_micro is None
    at_end = await read_edge_accounts(world.redis, partition, [ref], after_first.published, 100)
    assert at_end.costs_micro == {}


async def test_under_load_nothing_is_taken_for_drift(world: World) -> None:
    """Usage and grants, flushers that die in the middle, streams that are trimmed at once: every look finds nothing."""
    customers = [await world.customer(f"c{number}", 1_000) for number in range(8)]
    stop, counts = asyncio.Event(), list[int]()

    async def flush() -> None:
        """Three flushers after each other, of which two are killed once they have posted something."""
        for number in range(1, 4):
            database = await Database.open(world.urls["quotastack_flusher"], "flusher", 2)
            stream = await StreamConnection.connect(world.redis_url, AGREEMENT)
            task = asyncio.create_task(Flusher(database, stream, Clock(), Keeping(0, 1_000_000), "UTC").run(stop))
            await world.posted(40 * number)
            if number < 3:
                task.cancel()
            else:
                stop.set()
            await asyncio.gather(task, return_exceptions=True)
            await stream.close()
            await database.close()

    async def use(number: int) -> None:
        name, key = f"c{number}", 0
        while not stop.is_set():
            await world.use(name, f"{name} {key}", 1)
            key += 1
            if key % 20 == 0:
                await world.grant(customers[number], 5)

    async def look() -> None:
        async with reconciling(world) as reconciler:
            while not stop.is_set():
                counts.append(await found(reconciler))

    await asyncio.gather(flush(), look(), *(use(number) for number in range(8)))
    assert set(counts) == {0}
    assert len(counts) > 2 * BOUND_ROUNDS
    assert await adrift(world) == []
