"""Redis goes away, comes back, forgets, refuses: what the edge answers, and that it finds back by itself.

Usage is enforced here: other usage goes to the spool, see test_spool.py.
"""

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from app.embedded.valkey import EmbeddedValkey, start_valkey
from app.wire import keys
from app.wire.agreement import Agreement
from edge.worker import EX_CONFIG
from tests.edge.world import PARTITIONS, WINDOW_SECONDS, Answer, EdgeProcess, StandInCore, Tenant, World
from tests.waiting import wait_until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")

RECOVERY_SECONDS = 10
A_RESERVATION = "rsv_" + "0" * 32


@asynccontextmanager
async def edge_on(url: str, log: Path | None = None) -> AsyncIterator[World]:
    """An edge with one worker on that Redis."""
    core = StandInCore()
    await core.start()
    redis = Redis.from_url(url, protocol=2)
    edge = EdgeProcess(url, core.url)
    edge.start(log)
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            yield World(redis, core, edge, session)
    finally:
        await redis.aclose()
        await core.stop()
        edge.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def own_world(own_valkey: EmbeddedValkey) -> AsyncIterator[World]:
    """An edge on the server that may be killed."""
    async with edge_on(own_valkey.url) as world:
        await world.edge.ready()
        yield world


async def is_unavailable(tenant: Tenant) -> bool:
    """Whether everything that needs Redis is answered as it should be while Redis is away."""
    answers = [await tenant.check("user_1"), await tenant.use("user_1", idempotency_key="while-away", enforce=True)]
    answers += [await tenant.batch([{"end_user_id": "user_1", "feature_key": "api_calls", "enforce": True}])]
    answers += [await tenant.reserve("user_1", units=1), await tenant.show(A_RESERVATION)]
    answers += [await tenant.change(A_RESERVATION, verb) for verb in ("commit", "release", "extend")]
    assert (await tenant.world.send("GET", "/livez")).status == 200
    for answer in answers:
        if answer.status != 503:
            return False
        assert answer.body["code"] == "store_unavailable"
        assert answer.headers["Retry-After"] == "1"
    return True


async def test_a_killed_redis_that_comes_back(own_world: World, own_valkey: EmbeddedValkey) -> None:
    """503 while it is away; afterwards everything acknowledged is there, and a retry has one effect."""
    tenant = await own_world.tenant()
    await tenant.seed("user_1", 1000)
    before = await tenant.use("user_1", idempotency_key="before")
    assert before.status == 202
    os.kill(own_valkey.pid, signal.SIGKILL)
    await wait_until_async(lambda: is_unavailable(tenant), RECOVERY_SECONDS, "the loss is noticed")
    own_valkey.start()
    await own_world.edge.ready()
    assert (await tenant.use("user_1", idempotency_key="before")).raw == before.raw
    assert (await tenant.use("user_1", idempotency_key="while-away", enforce=True)).body["balance"] == 998
    reserved = await tenant.reserve("user_1", units=8, idempotency_key="while-away")
    assert reserved.body["balance"] == 990
    assert (await tenant.change(reserved.body["reservation_id"], "release")).body["balance"] == 998
    assert (await tenant.check("user_1")).body["balance"] == 998


async def test_kills_under_load_lose_nothing_and_double_nothing(own_world: World, own_valkey: EmbeddedValkey) -> None:
    """Clients retry with their keys through two kills: every key has one entry, and the balance is exact."""
    tenant = await own_world.tenant()
    await tenant.seed("user_1", 100_000)
    taken_in: list[str] = []

    async def client(number: int) -> None:
        for count in range(40):
            key = f"{number}-{count}"
            await wait_until_async(lambda key=key: _is_taken_in(tenant, key), 30, f"{key} is taken in")
            taken_in.append(key)

    async def have_grown(count: int) -> bool:
        return len(taken_in) >= count

    clients = asyncio.gather(*(client(number) for number in range(20)))
    for count in (100, 400):
        await wait_until_async(lambda count=count: have_grown(count), 30, "usage goes on")
        os.kill(own_valkey.pid, signal.SIGKILL)
        own_valkey.start()
    await clients
    await own_world.redis.connection_pool.disconnect()
    assert len(await tenant.entries("user_1")) == len(taken_in) == 800
    assert (await tenant.check("user_1")).body["balance"] == 99_200


async def _is_taken_in(tenant: Tenant, key: str) -> bool:
    return (await tenant.use("user_1", idempotency_key=key, enforce=True)).status == 202


async def test_reservations_through_kills(own_world: World, own_valkey: EmbeddedValkey) -> None:
    """Clients repeat every call until it is answered: each reservation has one opening and one end; nothing leaks."""
    tenant = await own_world.tenant()
    await tenant.seed("user_1", 100_000)
    ended: list[int] = []

    async def client(number: int) -> None:
        for count in range(15):
            opened = await _answered(
                201, lambda key=f"{number}-{count}": tenant.reserve("user_1", units=10, idempotency_key=key)
            )
            path = (opened.body["reservation_id"], ("commit", "release")[count % 2])
            ended.append((await _answered(200, lambda path=path: tenant.change(*path))).body["charged"])

    async def have_ended(count: int) -> bool:
        return len(ended) >= count

    clients = asyncio.gather(*(client(number) for number in range(20)))
    for count in (50, 150):
        await wait_until_async(lambda count=count: have_ended(count), 30, "reservations go on")
        os.kill(own_valkey.pid, signal.SIGKILL)
        own_valkey.start()
    await clients
    await own_world.redis.connection_pool.disconnect()
    assert len(await tenant.entries("user_1")) == 2 * len(ended) == 600
    account = await tenant.account("user_1")
    assert (account["reserved"], account["open"]) == ("0", "0")
    assert (await tenant.check("user_1")).body["balance"] == 100_000 - sum(ended) == 98_400


async def _answered(status: int, ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """The answer of a call that is sent again while it is answered 503."""
    answers: list[Answer] = []

    async def is_answered() -> bool:
        answers.append(await ask())
        assert answers[-1].status in {status, 503}, answers[-1].raw
        return answers[-1].status == status

    await wait_until_async(is_answered, 30, "an answer")
    return answers[-1]


async def test_a_redis_that_does_not_answer(own_world: World, own_valkey: EmbeddedValkey) -> None:
    """A stopped server: 503 within the bound and not later, and back when it goes on."""
    tenant = await own_world.tenant()
    await tenant.seed("user_1", 1000)
    assert (await tenant.check("user_1")).status == 200
    os.kill(own_valkey.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        answer = await tenant.use("user_1", idempotency_key="k", enforce=True)
        assert (answer.status, answer.body["code"]) == (503, "store_unavailable")
        assert 0.9 < time.monotonic() - began < 3
        assert await is_unavailable(tenant)
    finally:
        os.kill(own_valkey.pid, signal.SIGCONT)
    await own_world.edge.ready()
    assert (await tenant.use("user_1", idempotency_key="k", enforce=True)).status == 202
    assert len(await tenant.entries("user_1")) == 1


async def test_scripts_that_redis_has_lost(own_world: World) -> None:
    """They are loaded again, and no request notices; each of 200 has its one effect."""
    tenant = await own_world.tenant()
    await tenant.seed("user_1", 1000)
    for _ in range(3):
        await own_world.redis.script_flush()
        answers = await asyncio.gather(*(tenant.use("user_1", "lenient") for _ in range(200)))
        assert {answer.status for answer in answers} == {202}
    assert (await tenant.check("user_1")).body["balance"] == 400


async def test_a_redis_without_memory(own_world: World) -> None:
    """It refuses to write: 503 for usage and nothing done; checks go on."""
    tenant = await own_world.tenant()
    await tenant.seed("user_1", 1000)
    await own_world.redis.config_set("maxmemory", 1)
    answer = await tenant.use("user_1", enforce=True)
    assert (answer.status, answer.body["code"]) == (503, "store_unavailable")
    assert (await tenant.check("user_1")).body["balance"] == 1000
    await own_world.redis.config_set("maxmemory", 0)
    assert (await tenant.use("user_1")).status == 202


async def test_a_password_and_a_database(own_world: World, own_valkey: EmbeddedValkey) -> None:
    """What REDIS_URL says of them is used."""
    await own_world.redis.config_set("requirepass", "s3cret&")
    url = own_valkey.url.replace("unix://", "unix://:s3cret%26@") + "?db=3"
    async with edge_on(url) as world:
        await world.edge.ready()
        assert await world.redis.get(keys.AGREEMENT) == Agreement(PARTITIONS, WINDOW_SECONDS).fingerprint()
        tenant = await world.tenant()
        await tenant.seed("user_1", 10)
        assert (await tenant.use("user_1")).status == 202
    await own_world.redis.config_set("requirepass", "")


async def test_redis_comes_later_than_the_edge() -> None:
    """The edge waits for it, alive and not ready."""
    with tempfile.TemporaryDirectory() as directory:
        with start_valkey(Path(directory)) as server:
            url = server.url
        async with edge_on(url) as world:

            async def is_alive() -> bool:
                try:
                    return (await world.send("GET", "/livez")).status == 200
                except aiohttp.ClientError:
                    return False

            await wait_until_async(is_alive, RECOVERY_SECONDS, "the edge is alive")
            assert (await world.send("GET", "/readyz")).status == 503
            with start_valkey(Path(directory)):
                await world.edge.ready()


async def test_another_agreement_ends_the_edge(own_valkey: EmbeddedValkey, tmp_path: Path) -> None:
    """Other partitions than the data was made with: a clear error, the exit code of a wrong setting, no restarts."""
    log = tmp_path / "edge.log"
    redis = Redis.from_url(own_valkey.url, protocol=2)
    await redis.set(keys.AGREEMENT, Agreement(PARTITIONS + 1, WINDOW_SECONDS).fingerprint())
    edge = EdgeProcess(own_valkey.url, "http://127.0.0.1:1", workers=2)
    edge.start(log)
    assert edge.process is not None
    assert await asyncio.to_thread(edge.process.wait, RECOVERY_SECONDS) == EX_CONFIG
    assert f'"partitions":{PARTITIONS + 1}' in log.read_text().replace("\\", "")
    await redis.aclose()


@pytest.mark.parametrize(("appendfsync", "warns"), [("always", False), ("everysec", True), ("no", True)])
async def test_a_redis_that_writes_less_often_than_is_promised(
    own_valkey: EmbeddedValkey, tmp_path: Path, appendfsync: str, *, warns: bool
) -> None:
    """The edge serves, and its log says that acknowledged events can be lost."""
    log = tmp_path / "edge.log"
    redis = Redis.from_url(own_valkey.url, protocol=2)
    await redis.config_set("appendfsync", appendfsync)
    await redis.aclose()
    async with edge_on(own_valkey.url, log) as world:
        await world.edge.ready()
    assert (f"Redis writes to its disk {appendfsync}" in log.read_text()) is warns


async def test_a_redis_without_a_log(own_valkey: EmbeddedValkey, tmp_path: Path) -> None:
    """What is not written at all is never called written."""
    log = tmp_path / "edge.log"
    redis = Redis.from_url(own_valkey.url, protocol=2)
    await redis.config_set("appendonly", "no")
    await redis.aclose()
    async with edge_on(own_valkey.url, log) as world:
        await world.edge.ready()
    assert "Redis writes to its disk never" in log.read_text()
