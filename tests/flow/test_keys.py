"""Keys from end to end: a revocation reaches every worker, and what edges see of keys comes to the tenant."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from app.wire import key_digest, keys
from tests.flow.stack import SECRETS, Stack, Tenant, make_catalogue, open_session, running_stack
from tests.waiting import wait_until_async

WORKERS = 4
SECOND = 1.0
COUNTER_LENGTH = 10
"""Of the request ids of a worker; what stands before it is the worker."""
CHECK = {"end_user_id": "user_1", "feature_key": "api_calls"}
SCOPES = ["entitlements:read", "usage:write"]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def many(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A stack whose edge has more workers than most, on one machine."""
    async with running_stack(tmp_path_factory.mktemp("many"), EDGE_WORKERS=str(WORKERS)) as running:
        yield running


async def customer(tenant: Tenant) -> None:
    """Whom the keys ask about."""
    variant = await make_catalogue(tenant.core)
    await tenant.core.created("/v1/subscriptions", {"end_user_id": "user_1", "plan_variant_id": variant})


async def ask(session: aiohttp.ClientSession, tenant: Tenant, key: str) -> tuple[float, int, str]:
    """A check on a connection of its own: when it was sent, its status, and who answered."""
    sent = time.monotonic()
    answer = await tenant.edge.on(session).with_key(key).get("/v1/entitlements/check", **CHECK)
    return sent, answer.status, answer.headers["X-Request-Id"][:-COUNTER_LENGTH]


async def ask_all(session: aiohttp.ClientSession, tenant: Tenant, key: str) -> set[int]:
    """The statuses that every worker answers with; so many connections that each gets some."""
    workers, statuses = set[str](), set[int]()
    while len(workers) < WORKERS:
        for _, status, worker in await asyncio.gather(*(ask(session, tenant, key) for _ in range(16))):
            workers.add(worker)
            statuses.add(status)
    return statuses


async def test_a_revoked_key_is_refused_by_every_worker_within_a_second(many: Stack) -> None:
    """Counted from the answer; all of them believed in the key until then, and core's own door shuts at once."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        tenant = await many.tenant(session)
        await customer(tenant)
        for _ in range(3):
            made = await tenant.core.created("/v1/api-keys", {"name": "n", "scopes": SCOPES})
            assert await ask_all(session, tenant, made["key"]) == {HTTPStatus.OK}
            answer = await tenant.core.send("DELETE", f"/v1/api-keys/{made['api_key_id']}")
            answered = time.monotonic()
            assert answer.body["edges_told"]
            core = await tenant.core.with_key(made["key"]).get("/v1/features")
            assert core.status == HTTPStatus.UNAUTHORIZED
            let_in: list[float] = []
            while time.monotonic() < answered + 2 * SECOND:
                answers = await asyncio.gather(*(ask(session, tenant, made["key"]) for _ in range(8)))
                let_in += [sent for sent, status, _ in answers if status == HTTPStatus.OK]
            assert max(let_in, default=answered) - answered <= SECOND
            assert await ask_all(session, tenant, made["key"]) == {HTTPStatus.UNAUTHORIZED}


async def test_an_emptied_redis_does_not_bring_a_key_back(many: Stack) -> None:
    """What was valid is valid again, what was revoked is not."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        tenant = await many.tenant(session)
        await customer(tenant)
        made = await tenant.core.created("/v1/api-keys", {"name": "n", "scopes": SCOPES})
        assert await ask_all(session, tenant, made["key"]) == {HTTPStatus.OK}
        redis = await many.redis()
        names = [keys.api_key(digest_of(key)) for key in (made["key"], tenant.sandbox_key)]
        record = await redis.client.get(names[0])
        await tenant.core.send("DELETE", f"/v1/api-keys/{made['api_key_id']}")
        await redis.client.delete(*names)
        assert await ask_all(session, tenant, tenant.sandbox_key) == {HTTPStatus.OK}

        async def is_refused() -> bool:
            return await ask_all(session, tenant, made["key"]) == {HTTPStatus.UNAUTHORIZED}

        await wait_until_async(is_refused, 3, "the revoked key to be refused after Redis was emptied")
        await redis.client.set(names[0], record)  # as a copy of Redis has it that was made before
        await wait_until_async(is_refused, 10, "the revoked key to be refused after Redis was put back")
        await redis.close()


def digest_of(key: str) -> bytes:
    """What the stack keeps of a key."""
    return key_digest.digest(SECRETS["KEY_PEPPER"].encode(), key)


@pytest.mark.slow
async def test_the_tenant_sees_when_a_key_was_used(many: Stack) -> None:
    """By an edge, which tells jobs, which writes it down within a minute or so."""
    async with open_session() as session:
        tenant = await many.tenant(session)
        made = await tenant.core.created("/v1/api-keys", {"name": "n", "scopes": SCOPES})
        before = datetime.now(UTC)
        await ask(session, tenant, made["key"])

        async def used_at() -> Any:
            return (await tenant.core.get(f"/v1/api-keys/{made['api_key_id']}")).body["last_used_at"]

        shown = datetime.fromisoformat(await wait_until_async(used_at, 90, "the use to be written down"))
        assert before <= shown <= datetime.now(UTC)
