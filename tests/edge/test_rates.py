"""Rate limits of the edge: several workers of one process on a real Valkey, by a clock that the test moves."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from uuid import uuid4

import pytest
import pytest_asyncio

from app.embedded.valkey import EmbeddedValkey
from app.wire import keys
from app.wire.agreement import Agreement
from app.wire.rates import MICROSECONDS, Allowances, Asker, RateLimits
from edge.exchange import Exchange
from edge.rates import MAX_METERS, Rates
from edge.redis import Redis
from tests.edge.world import PARTITIONS, WINDOW_SECONDS, now_at
from tests.waiting import wait_until_async
from tests.wire.rate_models import read_list

pytestmark = pytest.mark.asyncio(loop_scope="session")

WAIT_SECONDS = 10


class Line:
    """A connection for one request."""

    def __init__(self) -> None:
        self._has_answer = asyncio.Event()

    def answered(self) -> None:
        """An answer is there."""
        self._has_answer.set()

    async def wait(self) -> None:
        """Until it is."""
        async with asyncio.timeout(WAIT_SECONDS):
            await self._has_answer.wait()

    def new_request_id(self) -> bytes:
        """Any."""
        return b"req"

    def observe(self, exchange: Exchange, status: int) -> None:
        """Nothing is counted here."""

    @property
    def peer(self) -> str:
        """Nobody."""
        return ""


class Time:
    """A clock that stands still; it begins with a window of a minute."""

    def __init__(self) -> None:
        self.at = now_at() // (60 * MICROSECONDS) * 60 * MICROSECONDS

    def pass_seconds(self, seconds: int) -> None:
        """Move it on."""
        self.at += seconds * MICROSECONDS


class Worker:
    """What one worker makes of requests."""

    def __init__(self, redis: Redis, limits: RateLimits, time: Time) -> None:
        self.rates = Rates(redis, Allowances(limits), PARTITIONS, lambda: 1_000 * time.at)
        self.waited = 0
        """Requests that did not go on at once."""

    async def send(self, asker: Asker) -> Exchange:
        """One request, until it has its answer."""
        exchange = Exchange(line := Line(), b"GET", b"/", {})
        go = partial(exchange.respond, 200, b"{}")
        meter = self.rates.meter(asker)
        if meter.enter(exchange):
            go()
        else:
            self.waited += 1
            meter.wait(exchange, go)
        await line.wait()
        return exchange

    async def count(self, asker: Asker, times: int) -> Counter[int]:
        """So many requests, one after the other; how many had which status."""
        return Counter([status_of(await self.send(asker)) for _ in range(times)])


def status_of(exchange: Exchange) -> int:
    """Of its answer."""
    assert exchange.answer is not None
    return int(exchange.answer.split()[1])


def lines_of(exchange: Exchange) -> dict[str, str]:
    """The head of its answer."""
    assert exchange.answer is not None
    head, _, _ = exchange.answer.decode().partition("\r\n\r\n")
    return dict(line.split(": ", 1) for line in head.split("\r\n")[1:])


def standing_of(exchange: Exchange) -> dict[str, dict[str, int]]:
    """What the answer says is left."""
    return read_list(lines_of(exchange)["RateLimit"])


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Redis]:
    """The edge's own connection to Redis."""
    redis = Redis(url, Agreement(PARTITIONS, WINDOW_SECONDS).fingerprint())
    task = asyncio.create_task(redis.keep_connected())
    try:
        await wait_until_async(lambda: _answers(redis), WAIT_SECONDS, "Redis is connected")
        yield redis
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _answers(redis: Redis) -> bool:
    try:
        return await redis.ask(b"PING") == b"PONG"
    except Exception:  # noqa: BLE001 - not yet
        return False


@pytest_asyncio.fixture(loop_scope="session")
async def redis(valkey: EmbeddedValkey) -> AsyncIterator[Redis]:
    """A connection of the test's own."""
    async with connected(valkey.url) as opened:
        yield opened


def asker() -> Asker:
    """A key of an environment that nobody has met."""
    return Asker(keys.environment_ref(uuid4()), uuid4())


def workers(redis: Redis, count: int, key: int, tenant: int = 10**6) -> tuple[Time, list[Worker]]:
    """So many workers with one clock."""
    time = Time()
    return time, [Worker(redis, RateLimits(key, tenant, 60), time) for _ in range(count)]


@pytest.mark.parametrize("limit", [1, 2, 19, 20, 60, 500, 5_000])
async def test_one_worker_lets_through_exactly_the_limit(redis: Redis, limit: int) -> None:
    """Not one more and not one less, whatever the slices were; then 429 until the next window."""
    time, [worker] = workers(redis, 1, limit)
    who = asker()
    assert await worker.count(who, limit) == {200: limit}
    assert await worker.count(who, 3) == {429: 3}
    time.pass_seconds(60)
    assert await worker.count(who, limit + 1) == {200: limit, 429: 1}


@pytest.mark.parametrize("limit", [3, 60, 2_000])
async def test_workers_together_let_through_the_limit(redis: Redis, limit: int) -> None:
    """Asked by turns and all at once, four workers let through what there is, and not one more."""
    _, crew = workers(redis, 4, limit)
    who = asker()
    sent = [worker.send(who) for _ in range(limit) for worker in crew]
    statuses = Counter(status_of(exchange) for exchange in await asyncio.gather(*sent))
    assert statuses == {200: limit, 429: 3 * limit}


@pytest.mark.parametrize("before", [1, 10, 25, 50, 75, 100, 200, 300])
async def test_what_idle_workers_hold_is_little(redis: Redis, before: int) -> None:
    """Whatever three workers were asked before, nine tenths of the window and more can be used through the fourth."""
    _, [first, *others] = workers(redis, 4, 1_000)
    who = asker()
    for worker in others:
        for _ in range(before):
            assert status_of(await worker.send(who)) == 200
            await redis.ask(b"PING")  # what was asked for ahead is there
    used = 3 * before + (await first.count(who, 1_000))[200]
    assert 900 < used <= 1_000
    held = sum([(await worker.count(who, 1_000))[200] for worker in others])
    assert used + held == 1_000


async def test_two_keys_share_what_their_environment_has(redis: Redis) -> None:
    """The environment's limit holds for both together, and the refusal names it."""
    _, [first, second] = workers(redis, 2, 100, tenant=150)
    one = asker()
    other = Asker(one.environment, uuid4())
    assert await first.count(one, 100) == {200: 100}
    assert await second.count(other, 60) == {200: 50, 429: 10}
    refused = await second.send(other)
    assert b"All keys of this environment together may send 150 requests in 60 s" in (refused.answer or b"")
    assert standing_of(refused) == {"key": {"r": 50, "t": 60}, "tenant": {"r": 0, "t": 60}}
    assert await first.count(asker(), 100) == {200: 100}


async def test_an_environment_with_limits_of_its_own(redis: Redis) -> None:
    """They hold for its keys and for no others."""
    time, [worker] = workers(redis, 1, 100)
    special, usual = asker(), asker()
    others = {special.environment: RateLimits(3, 5, 60)}
    worker.rates = Rates(redis, Allowances(RateLimits(100, 200, 60), others), PARTITIONS, lambda: 1_000 * time.at)
    assert await worker.count(special, 5) == {200: 3, 429: 2}
    assert await worker.count(Asker(special.environment, uuid4()), 5) == {200: 2, 429: 3}
    assert await worker.count(usual, 101) == {200: 100, 429: 1}
    assert read_list(lines_of(await worker.send(special))["RateLimit-Policy"])["tenant"] == {"q": 5, "w": 60}


async def test_a_slice_is_a_fiftieth_at_most(redis: Redis) -> None:
    """However much a worker is asked, it holds at most a slice and what was left of the one before."""
    _, [worker, looker] = workers(redis, 2, 100_000)
    who = asker()
    await worker.count(who, 50_000)

    async def is_at_rest() -> bool:
        left = standing_of(await worker.send(who))["key"]["r"]
        seen = standing_of(await looker.send(who))["key"]["r"]
        return 0 <= left - seen <= 1.5 * 100_000 / 50

    await wait_until_async(is_at_rest, WAIT_SECONDS, "Redis knows of all that is held")


async def test_only_the_first_request_of_a_window_waits(redis: Redis) -> None:
    """The next slice is there before the one before it is used up, where Redis is as fast as the requests."""
    time, [worker] = workers(redis, 1, 5_000)
    who = asker()
    for _ in range(2):
        for _ in range(500):
            assert status_of(await worker.send(who)) == 200
            assert await redis.ask(b"PING") == b"PONG"  # answered behind the slice that was asked for
        assert worker.waited == 1
        worker.waited = 0
        time.pass_seconds(60)


async def test_answers_say_what_is_left(redis: Redis) -> None:
    """Of key and environment; one less with each request, and when there is more."""
    time, [worker] = workers(redis, 1, 60, tenant=100)
    who = asker()
    time.pass_seconds(13)
    first = await worker.send(who)
    assert read_list(lines_of(first)["RateLimit-Policy"]) == {"key": {"q": 60, "w": 60}, "tenant": {"q": 100, "w": 60}}
    assert standing_of(first) == {"key": {"r": 59, "t": 47}, "tenant": {"r": 99, "t": 47}}
    assert [standing_of(await worker.send(who))["key"]["r"] for _ in range(59)] == [*range(58, -1, -1)]
    refused = await worker.send(who)
    assert (status_of(refused), lines_of(refused)["Retry-After"]) == (429, "47")
    assert standing_of(refused) == {"key": {"r": 0, "t": 47}, "tenant": {"r": 40, "t": 47}}
    time.at += 46 * MICROSECONDS + MICROSECONDS // 2
    assert lines_of(await worker.send(who))["Retry-After"] == "1"


@pytest.mark.parametrize("limit", [900, 6_000])
async def test_what_is_left_is_told_to_a_thousandth(redis: Redis, limit: int) -> None:
    """Where nobody else asks, never less than there is, and more by less than a thousandth of the limit."""
    _, [worker] = workers(redis, 1, limit)
    who = asker()
    for left in range(limit - 1, -1, -1):
        assert 0 <= standing_of(await worker.send(who))["key"]["r"] - left < max(1, limit // 1_000)
        await redis.ask(b"PING")


async def test_an_answer_without_a_body_says_so_too(redis: Redis) -> None:
    """204 has the fields as every other answer has."""
    _, [worker] = workers(redis, 1, 60)
    exchange = await worker.send(asker())
    exchange.confirm()
    assert status_of(exchange) == 204
    assert standing_of(exchange)["key"] == {"r": 59, "t": 60}


async def test_permits_are_of_their_window(redis: Redis) -> None:
    """What was drawn in one window lets nothing through in the next; a clock that is set back goes on where it was."""
    time, [worker] = workers(redis, 1, 1_000)
    who = asker()
    assert await worker.count(who, 500) == {200: 500}
    time.pass_seconds(60)
    assert await worker.count(who, 1_001) == {200: 1_000, 429: 1}
    time.pass_seconds(-60)
    assert 400 <= (await worker.count(who, 501))[200] <= 500
    time.pass_seconds(120)
    assert await worker.count(who, 1_000) == {200: 1_000}


async def test_the_window_turns_while_redis_is_asked(redis: Redis) -> None:
    """The answer is of a window that is over: what waits is counted in the new one."""
    time, [worker] = workers(redis, 1, 5)
    who = asker()
    assert await worker.count(who, 6) == {200: 5, 429: 1}
    time.pass_seconds(60)
    sent = [asyncio.ensure_future(worker.send(who)) for _ in range(6)]
    await asyncio.sleep(0)
    time.pass_seconds(60)
    assert Counter(status_of(exchange) for exchange in await asyncio.gather(*sent)) == {200: 5, 429: 1}
    assert await worker.count(who, 1) == {429: 1}


async def test_redis_is_away(own_valkey: EmbeddedValkey) -> None:
    """Requests go on: first with what is held, then uncounted, with an answer that says nothing of what is left."""
    async with connected(own_valkey.url) as redis:
        _, [worker] = workers(redis, 1, 1_000)
        who = asker()
        assert await worker.count(who, 100) == {200: 100}
        os.kill(own_valkey.pid, signal.SIGKILL)
        assert await worker.count(who, 2_000) == {200: 2_000}
        uncounted = lines_of(await worker.send(who))
        assert "RateLimit" not in uncounted
        assert read_list(uncounted["RateLimit-Policy"])["key"] == {"q": 1_000, "w": 60}


async def test_meters_are_bounded(redis: Redis) -> None:
    """One more key than there is room for: the one that was met first is met anew."""
    _, [worker] = workers(redis, 1, 10)
    first = worker.rates.meter(asker())
    again = [worker.rates.meter(asker()) for _ in range(MAX_METERS)]
    assert len(set(map(id, again))) == MAX_METERS
    assert worker.rates.meter(first._asker) is not first  # noqa: SLF001 - it says for whom it is
