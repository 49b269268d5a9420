"""Rate limits where each worker is a process, and where core and the edge count the same key."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.embedded.valkey import EmbeddedValkey
from app.wire import key_digest, keys
from app.wire.rates import Asker, RateLimits, script_keys
from app.wire.snapshot import decode_api_key
from tests.edge.world import PARTITIONS, PEPPER, Answer, Tenant, World, now_at, own_edge
from tests.waiting import wait_until_async
from tests.windows import within_one_window
from tests.wire.rate_models import read_list

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOUR = RateLimits(200, 500, 3_600)
WAIT_SECONDS = 20


@asynccontextmanager
async def limited_edge(
    world: World, valkey: EmbeddedValkey, limits: RateLimits, workers: int = 4
) -> AsyncIterator[World]:
    """An edge with these limits; each request of its session comes over a connection of its own."""
    settings = {
        "RATE_LIMIT_KEY_REQUESTS": str(limits.key_requests),
        "RATE_LIMIT_TENANT_REQUESTS": str(limits.tenant_requests),
        "RATE_LIMIT_WINDOW_SECONDS": str(limits.window_seconds),
    }
    async with own_edge(world, valkey, None, workers, **settings) as own:

        async def are_ready() -> bool:
            probes = [own.send("GET", "/readyz") for _ in range(10 * workers)]
            return {answer.status for answer in await asyncio.gather(*probes)} == {200}

        await wait_until_async(are_ready, WAIT_SECONDS, "every worker has Redis")
        yield own


async def asker_of(tenant: Tenant) -> Asker:
    """The tenant's key, as every process counts it."""
    record = await tenant.world.redis.get(keys.api_key(key_digest.digest(PEPPER.encode(), tenant.key)))
    return Asker(tenant.ref, decode_api_key(record).key_id)


async def check_often(tenant: Tenant, times: int, at_once: int = 20) -> Counter[int]:
    """So many checks; how many had which status."""
    statuses: Counter[int] = Counter()
    for _ in range(0, times, at_once):
        answers = await asyncio.gather(*(tenant.check("user_1") for _ in range(at_once)))
        statuses.update(answer.status for answer in answers)
    return statuses


async def test_four_processes_let_through_no_more_than_the_limit(world: World, valkey: EmbeddedValkey) -> None:
    """Over connections that the kernel spreads: the limit or little less, and Redis knows of it."""
    async with limited_edge(world, valkey, HOUR) as own:

        async def spend() -> tuple[Counter[int], int]:
            tenant = await own.tenant()
            await tenant.seed("user_1")
            statuses = await check_often(tenant, 400)
            counter, _ = script_keys(await asker_of(tenant), HOUR.window_at(now_at()), PARTITIONS)
            return statuses, int(await own.redis.get(counter) or 0)

        statuses, counted = await within_one_window(HOUR, spend)
    assert set(statuses) == {200, 429}
    assert 0.9 * HOUR.key_requests <= statuses[200] <= counted <= HOUR.key_requests


async def test_three_keys_of_one_environment(world: World, valkey: EmbeddedValkey) -> None:
    """Each has its own limit, and all together that of the environment."""
    async with limited_edge(world, valkey, HOUR) as own:

        async def spend() -> list[Counter[int]]:
            tenant = await own.tenant()
            await tenant.seed("user_1")
            keys_of_it = [tenant, *[await own.another_key(tenant) for _ in range(2)]]
            return [await check_often(one, 240) for one in keys_of_it]

        *firsts, last = await within_one_window(HOUR, spend)
    assert all(0.9 * 200 <= one[200] <= 200 for one in firsts)
    assert 0 < last[200] < 200
    assert 0.9 * 500 <= sum(one[200] for one in (*firsts, last)) <= 500


async def test_every_answer_says_what_is_left(world: World, valkey: EmbeddedValkey) -> None:
    """Good ones and refusals of whoever has a key; nothing where nobody is known."""
    async with limited_edge(world, valkey, HOUR, workers=1) as own:
        tenant = await own.tenant("usage:write")
        await tenant.seed("user_1")
        used, unscoped = await tenant.use("user_1"), await tenant.check("user_1")
        wrong, event = (
            await tenant.use("user_1", units=-1),
            {"id": "1", "source": "s", "type": "t", "specversion": "1.0"},
        )
        emitted = await tenant.send("POST", "/api/v1/events", json=event | {"subject": "user_1"})
        assert [answer.status for answer in (used, unscoped, wrong, emitted)] == [202, 403, 422, 404]
        for answer in (used, unscoped, wrong, emitted):
            assert read_list(answer.headers["RateLimit-Policy"]) == {
                "key": {"q": 200, "w": 3_600},
                "tenant": {"q": 500, "w": 3_600},
            }
            standing = read_list(answer.headers["RateLimit"])
            assert standing.keys() == {"key", "tenant"}
            assert 190 <= standing["key"]["r"] < 200
            assert 1 <= standing["key"]["t"] == standing["tenant"]["t"] <= 3_600
        for nobody in (await own.send("GET", "/v1/entitlements"), await own.send("GET", "/livez")):
            assert not {"RateLimit", "RateLimit-Policy"} & nobody.headers.keys()


async def test_a_refused_client_is_told_when_to_come_back(world: World, valkey: EmbeddedValkey) -> None:
    """429 as a problem document; in the next window it is served again, on every worker."""
    async with limited_edge(world, valkey, RateLimits(3, 100, 2), workers=2) as own:
        tenant = await own.tenant()
        await tenant.seed("user_1")

        async def refused() -> Answer | None:
            answer = await tenant.check("user_1")
            return answer if answer.status == 429 else None

        answer = await wait_until_async(refused, WAIT_SECONDS, "the limit is reached")
        assert answer.body["code"] == "too_many_requests"
        assert "3 requests in 2 s" in answer.body["detail"]
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.headers["Retry-After"] == str(read_list(answer.headers["RateLimit"])["key"]["t"])
        assert read_list(answer.headers["RateLimit"])["key"]["r"] == 0

        async def is_served() -> bool:
            return (await tenant.check("user_1")).status == 200

        await wait_until_async(is_served, WAIT_SECONDS, "another window begins")


async def test_a_batch_is_one_request(world: World, valkey: EmbeddedValkey) -> None:
    """However many events it has."""
    async with limited_edge(world, valkey, RateLimits(2, 100, 3_600), workers=1) as own:

        async def send() -> list[int]:
            tenant = await own.tenant()
            await tenant.seed("user_1")
            events = [{"end_user_id": "user_1", "feature_key": "api_calls"}] * 50
            return [(await tenant.batch(events)).status for _ in range(3)]

        assert await within_one_window(RateLimits(2, 100, 3_600), send) == [202, 202, 429]
