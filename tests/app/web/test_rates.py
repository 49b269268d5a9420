"""Rate limits of core: exact, by API key and by environment, and never in the way where Redis cannot count."""

import asyncio
import os
import signal
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import httpx

from app.embedded.valkey import EmbeddedValkey, start_valkey
from app.io import metrics
from app.io.clock import Clock
from app.wire import key_digest, keys
from app.wire.codes import Code
from app.wire.rates import Asker, script_keys
from tests.app.core import PARTITIONS, SECRETS, Client, Core, Tenant, open_core
from tests.app.schema.catalogue import connected
from tests.app.web.test_problems import assert_problem
from tests.conftest import DatabaseUrls
from tests.waiting import wait_until_async
from tests.wire.rate_models import read_list

MINUTE = datetime(2026, 3, 1, 12, tzinfo=UTC)
PEPPER = SECRETS["key_pepper"].encode()
WAIT_SECONDS = 20


class MovedClock(Clock):
    """One that the test moves."""

    def __init__(self) -> None:
        self.at = MINUTE + timedelta(seconds=7)

    def now(self) -> datetime:
        """Where it stands."""
        return self.at


@asynccontextmanager
async def limited_core(
    urls: DatabaseUrls, redis_url: str, key: int, tenant: int = 1_000, clock: Clock | None = None
) -> AsyncIterator[tuple[Core, Tenant]]:
    """Core with these limits a minute, by a clock that stands still, and a tenant."""
    limits = {"rate_limit_key_requests": key, "rate_limit_tenant_requests": tenant}
    async with open_core(urls, redis_url, clock or MovedClock(), **limits) as core:
        yield core, await core.tenant()


async def another_key(urls: DatabaseUrls, core: Core, tenant: Tenant) -> Client:
    """A second key of the tenant's sandbox."""
    key = key_digest.make_key("sandbox", uuid4().int)
    async with connected(urls.owner) as connection:
        await connection.execute(
            "INSERT INTO api_keys (environment_id, id, digest, display_prefix, scopes, created_at) "
            "SELECT environment_id, $2, $3, 'x', scopes, created_at FROM api_keys WHERE environment_id = $1",
            *(tenant.environment_id, uuid4(), key_digest.digest(PEPPER, key)),
        )
    return core.client(key)


def uncounted() -> float:
    """Requests that this process let through uncounted."""
    return metrics.REGISTRY.get_sample_value("quotastack_core_uncounted_requests_total") or 0.0


def standing_of(answer: httpx.Response) -> dict[str, dict[str, int]]:
    """What an answer says is left."""
    return read_list(answer.headers["ratelimit"])


async def test_exactly_the_limit_is_answered(urls: DatabaseUrls, valkey: EmbeddedValkey) -> None:
    """Of many at once and of those after them; the next window begins anew."""
    clock = MovedClock()
    async with limited_core(urls, valkey.url, key=20, clock=clock) as (_, tenant):
        for _ in range(2):
            answers = await asyncio.gather(*(tenant.sandbox.get("/v1/features") for _ in range(50)))
            assert Counter(answer.status_code for answer in answers) == {200: 20, 429: 30}
            assert (await tenant.live.get("/v1/features")).status_code == 200
            refused = await tenant.sandbox.get("/v1/features")
            assert_problem(refused, Code.TOO_MANY_REQUESTS)
            assert (refused.headers["retry-after"], standing_of(refused)["key"]) == ("53", {"r": 0, "t": 53})
            assert "This API key may send 20 requests in 60 s" in refused.json()["detail"]
            clock.at += timedelta(minutes=1)


async def test_answers_say_what_is_left(urls: DatabaseUrls, valkey: EmbeddedValkey) -> None:
    """Good ones, and refusals of whoever has a key, each of which is counted; nothing where nobody is known."""
    async with limited_core(urls, valkey.url, key=20, tenant=30) as (core, tenant):
        sent = [
            tenant.sandbox.get("/v1/features"),
            tenant.sandbox.get("/v1/features/none"),
            tenant.sandbox.get("/v1/features?limit=0"),
            tenant.sandbox.post("/v1/features", {"key": "f"}),
            tenant.sandbox.post("/v1/features", {"key": "f", "name": "F"}),
        ]
        statuses = [200, 404, 422, 400, 201]
        for number, (request, status) in enumerate(zip(sent, statuses, strict=True), start=1):
            answer = await request
            assert answer.status_code == status
            policy = read_list(answer.headers["ratelimit-policy"])
            assert policy == {"key": {"q": 20, "w": 60}, "tenant": {"q": 30, "w": 60}}
            assert standing_of(answer) == {"key": {"r": 20 - number, "t": 53}, "tenant": {"r": 30 - number, "t": 53}}
        for nobody in (await core.client("x").get("/v1/features"), await core.operator.get("/livez")):
            assert not {"ratelimit", "ratelimit-policy", "retry-after"} & nobody.headers.keys()


async def test_two_keys_share_what_their_environment_has(urls: DatabaseUrls, valkey: EmbeddedValkey) -> None:
    """The refusal says that it is not the key's own limit."""
    async with limited_core(urls, valkey.url, key=5, tenant=8) as (core, tenant):
        second = await another_key(urls, core, tenant)
        first = [(await tenant.sandbox.get("/v1/features")).status_code for _ in range(6)]
        assert first == [200] * 5 + [429]
        assert [(await second.get("/v1/features")).status_code for _ in range(3)] == [200] * 3
        refused = await second.get("/v1/features")
        assert_problem(refused, Code.TOO_MANY_REQUESTS)
        assert "All keys of this environment together may send 8 requests" in refused.json()["detail"]
        assert standing_of(refused) == {"key": {"r": 2, "t": 53}, "tenant": {"r": 0, "t": 53}}
        assert (await tenant.live.get("/v1/features")).status_code == 200


async def test_an_environment_with_limits_of_its_own(urls: DatabaseUrls, valkey: EmbeddedValkey) -> None:
    """Its figures hold for it and for nobody else, whichever core is asked."""
    async with limited_core(urls, valkey.url, key=20) as (core, tenant):
        exceptions = f"{tenant.made['sandbox_environment_id']}=2/3"
        changed = {"rate_limit_key_requests": 20, "rate_limit_exceptions": exceptions}
        async with open_core(urls, valkey.url, MovedClock(), **changed) as other:
            sandbox, live = other.client(tenant.sandbox.key), other.client(tenant.live.key)
            assert [(await sandbox.get("/v1/features")).status_code for _ in range(3)] == [200, 200, 429]
            answer = await live.get("/v1/features")
            assert read_list(answer.headers["ratelimit-policy"])["key"] == {"q": 20, "w": 60}
        assert standing_of(await core.client(tenant.sandbox.key).get("/v1/features"))["key"]["r"] == 17


async def test_core_counts_where_edges_do(urls: DatabaseUrls, valkey: EmbeddedValkey) -> None:
    """By the id of the key and the ref of its environment."""
    async with limited_core(urls, valkey.url, key=20) as (core, tenant):
        for _ in range(3):
            await tenant.sandbox.get("/v1/features")
        principal = await core.parts.api_keys.authenticate(tenant.sandbox.key, "192.0.2.1")
        assert principal is not None
        asker = Asker(keys.environment_ref(tenant.environment_id), principal.key_id)
        counters = script_keys(asker, int(MINUTE.timestamp()), PARTITIONS)
        assert await core.parts.redis.client.mget(counters) == [b"3", b"3"]


async def go_on_uncounted(tenant: Tenant) -> None:
    """More requests than the limit of two, and no answer that says what is left; the operator is told."""
    before = uncounted()
    for _ in range(5):
        answer = await tenant.sandbox.get("/v1/features")
        assert answer.status_code == 200
        assert read_list(answer.headers["ratelimit-policy"])["key"] == {"q": 2, "w": 60}
        assert "ratelimit" not in answer.headers
    assert uncounted() == before + 5


async def test_redis_is_killed(urls: DatabaseUrls) -> None:
    """Nothing is counted, and nothing refused."""
    with tempfile.TemporaryDirectory() as directory, start_valkey(Path(directory)) as own:
        async with limited_core(urls, own.url, key=2) as (_, tenant):
            os.kill(own.pid, signal.SIGKILL)
            await go_on_uncounted(tenant)


async def test_redis_is_silent_for_a_while(urls: DatabaseUrls) -> None:
    """The same; once it answers again, requests are counted again."""
    with tempfile.TemporaryDirectory() as directory, start_valkey(Path(directory)) as own:
        async with limited_core(urls, own.url, key=2) as (_, tenant):
            os.kill(own.pid, signal.SIGSTOP)
            try:
                await go_on_uncounted(tenant)
            finally:
                os.kill(own.pid, signal.SIGCONT)

            async def is_refused() -> bool:
                return (await tenant.sandbox.get("/v1/features")).status_code == 429

            await wait_until_async(is_refused, WAIT_SECONDS, "requests are counted again")
