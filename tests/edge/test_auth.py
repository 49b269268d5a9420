"""API keys: where they may stand, what they may do, and what happens to keys that nobody issued."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import pytest_asyncio

from app.embedded.valkey import EmbeddedValkey
from app.rules.guesses import KEYS_AT_ONCE
from app.wire import key_digest, keys
from app.wire.scopes import Scope
from app.wire.snapshot import ApiKeyRecord, encode_api_key
from edge.auth import Bucket
from tests.edge.world import PEPPER, Answer, Tenant, World, now_at, own_edge
from tests.waiting import wait_until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")

CHECK = "/v1/entitlements/check?end_user_id=user_1&feature_key=api_calls"


async def test_both_headers_serve(tenant: Tenant) -> None:
    """Bearer in any case, or X-API-Key; another kind of Authorization does not stand in the way."""
    await tenant.seed("user_1", 10)
    for headers in (
        {"Authorization": f"Bearer {tenant.key}"},
        {"Authorization": f"bearer  {tenant.key} "},
        {"X-API-Key": tenant.key},
        {"X-API-Key": f"{tenant.key} "},
        {"X-API-Key": tenant.key, "Authorization": "Bearer "},
        {"X-API-Key": tenant.key, "Authorization": "Basic dTpw"},
    ):
        assert (await tenant.world.send("GET", CHECK, headers=headers)).status == 200


@pytest.mark.parametrize("number", range(6))
async def test_what_is_no_key(world: World, number: int) -> None:
    """401 with WWW-Authenticate, without asking anybody."""
    good = key_digest.make_key("live", 12345)
    sent = ["", good[:-1], good[:-1] + ("A" if good[-1] != "A" else "B"), "qs_test_", "ключ", "x" * 500][number]
    headers = {"Authorization": f"Bearer {sent}"} if sent else {}
    answer = await world.send("GET", CHECK, headers=headers)
    assert (answer.status, answer.body["code"]) == (401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    assert world.core.asked == []


async def test_a_key_that_was_never_issued(world: World) -> None:
    """Core is asked once for many; 401. Afterwards Redis remembers that it is unknown."""
    key = key_digest.make_key("live", uuid4().int)
    digest = key_digest.digest(PEPPER.encode(), key)
    headers = {"Authorization": f"Bearer {key}"}

    async def remember(question: dict[str, str]) -> str:
        assert question == {"digest": digest.hex()}
        await world.redis.set(keys.api_key(digest), keys.UNKNOWN_KEY, ex=60)
        return "unknown"

    world.core.answers["keys"] = remember
    answers = await asyncio.gather(*(world.send("GET", CHECK, headers=headers) for _ in range(50)))
    assert {answer.status for answer in answers} == {401}
    assert 1 <= len(world.core.asked) <= 2  # one of each worker
    world.core.reset()
    assert (await world.send("GET", CHECK, headers=headers)).status == 401
    assert world.core.asked == []


async def test_a_key_that_core_brings(world: World) -> None:
    """A key that Redis has lost works at the first request."""
    tenant = await world.tenant()
    await tenant.seed("user_1", 10)
    name = keys.api_key(key_digest.digest(PEPPER.encode(), tenant.key))
    record = await world.redis.getdel(name)

    async def load(_: object) -> str:
        await world.redis.set(name, record)
        return "loaded"

    world.core.answers["keys"] = load
    assert (await tenant.check("user_1")).status == 200


async def test_core_is_away(world: World) -> None:
    """A key that cannot be looked up is a 503, never a 401."""

    async def broken(_: object) -> str:
        return "broken"

    world.core.answers["keys"] = broken
    headers = {"Authorization": f"Bearer {key_digest.make_key('live', uuid4().int)}"}
    answer = await world.send("GET", CHECK, headers=headers)
    assert (answer.status, answer.body["code"]) == (503, "store_unavailable")
    assert answer.headers["Retry-After"] == "1"


async def test_a_revoked_key_stops_within_a_second_or_so(tenant: Tenant) -> None:
    """A worker believes what it read of a key for one second."""
    await tenant.seed("user_1", 10)
    assert (await tenant.check("user_1")).status == 200
    await tenant.world.redis.set(keys.api_key(key_digest.digest(PEPPER.encode(), tenant.key)), keys.UNKNOWN_KEY)

    async def is_refused() -> bool:
        return {(await tenant.check("user_1")).status for _ in range(8)} == {401}

    await wait_until_async(is_refused, 3, "the key is refused by both workers")


async def test_an_expired_key(world: World) -> None:
    """A key ends at its moment, whatever Redis still holds."""
    tenant = await world.tenant(Scope.ENTITLEMENTS_READ, expires_at=now_at() - 1)
    answer = await tenant.check("user_1")
    assert (answer.status, answer.body["code"]) == (401, "unauthenticated")
    assert "expired" in answer.body["detail"]


@pytest.mark.parametrize(
    ("scopes", "may_check", "may_record"),
    [
        ((Scope.ENTITLEMENTS_READ,), True, False),
        ((Scope.USAGE_WRITE,), False, True),
        ((Scope.ADMIN,), True, True),
        ((Scope.KEYS_WRITE,), False, False),
    ],
)
async def test_scopes(world: World, scopes: tuple[str, ...], may_check: bool, may_record: bool) -> None:  # noqa: FBT001 - columns of the table
    """403 that names the scope that is missing."""
    tenant = await world.tenant(*scopes)
    await tenant.seed("user_1", 10)
    for may, answer, scope in (
        (may_check, await tenant.check("user_1"), "entitlements:read"),
        (may_record, await tenant.use("user_1"), "usage:write"),
        (may_record, await tenant.batch([{"end_user_id": "user_1", "feature_key": "api_calls"}]), "usage:write"),
    ):
        if may:
            assert answer.status in {200, 202}
        else:
            assert (answer.status, answer.body["code"]) == (403, "missing_scope")
            assert scope in answer.body["detail"]


async def test_a_key_without_scopes(world: World) -> None:
    """It may do nothing."""
    tenant = await world.tenant()
    record = ApiKeyRecord(uuid4(), tenant.environment_id, "sandbox", frozenset())
    await world.redis.set(keys.api_key(key_digest.digest(PEPPER.encode(), tenant.key)), encode_api_key(record))
    assert (await tenant.check("user_1")).status == 403
    assert (await tenant.use("user_1")).status == 403


async def test_keys_that_are_not_known_are_asked_for_at_a_bounded_rate(world: World) -> None:
    """A flood of well-formed keys from many addresses is a 429 with Retry-After; a known key goes on."""
    tenant = await world.tenant()
    await tenant.seed("user_1", 10)
    flood = [guess(made_up(), f"192.0.2.{number % 250}") for number in range(400)]
    answers = await asyncio.gather(*(world.send("GET", CHECK, headers=headers) for headers in flood))
    assert {answer.status for answer in answers} == {401, 429}
    throttled = next(answer for answer in answers if answer.status == 429)
    assert (throttled.body["code"], throttled.headers["Retry-After"]) == ("too_many_requests", "1")
    assert (await tenant.check("user_1")).status == 200


def made_up() -> str:
    """A well-formed key that was never issued."""
    return key_digest.make_key("live", uuid4().int)


def guess(key: str, address: str) -> dict[str, str]:
    """The headers of a request with a key, from an address, as a proxy passes it on."""
    return {"X-API-Key": key, "X-Forwarded-For": address}


async def flood(world: World, address: str, count: int) -> list[int]:
    """The statuses of so many malformed keys, one after the other from one address."""
    sent = [guess(f"qs_live_{uuid4().hex}", address) for _ in range(count)]
    return [(await world.send("GET", CHECK, headers=headers)).status for headers in sent]


@pytest_asyncio.fixture(loop_scope="session")
async def one_worker(world: World, valkey: EmbeddedValkey) -> AsyncIterator[World]:
    """An edge of the test's own, with one worker."""
    async with own_edge(world, valkey, workers=1) as own:
        yield own


async def test_who_sends_many_keys_that_are_none_is_not_listened_to(one_worker: World) -> None:
    """After a burst an address gets 429 with Retry-After for keys that the worker does not know, malformed or not."""
    address = "198.51.100.1"
    statuses = await flood(one_worker, address, 2 * KEYS_AT_ONCE)
    assert statuses[:KEYS_AT_ONCE] == [401] * KEYS_AT_ONCE

    async def throttled() -> Answer | None:
        answer = await one_worker.send("GET", CHECK, headers=guess(made_up(), address))
        return answer if answer.status == 429 else None

    refused = await wait_until_async(throttled, 5, "a well-formed key to be throttled too")
    assert (refused.body["code"], refused.headers["Retry-After"]) == ("too_many_requests", "1")
    assert (await one_worker.send("GET", CHECK, headers=guess("qs_live_x", "198.51.100.2"))).status == 401


async def test_keys_that_are_in_use_go_on_where_others_guess(one_worker: World) -> None:
    """From the same address; so does one that is refused time and again, and takes nothing from the others."""
    address = "198.51.100.3"
    tenant, newcomer = await one_worker.tenant(), await one_worker.tenant()
    for one in (tenant, newcomer):
        await one.seed("user_1", 10)
    dead = made_up()
    await one_worker.redis.set(keys.api_key(key_digest.digest(PEPPER.encode(), dead)), keys.UNKNOWN_KEY)
    for _ in range(2 * KEYS_AT_ONCE):
        assert (await one_worker.send("GET", CHECK, headers=guess(dead, address))).status == 401
    assert (await one_worker.send("GET", CHECK, headers=guess(tenant.key, address))).status == 200
    assert 429 in await flood(one_worker, address, 2 * KEYS_AT_ONCE)
    for _ in range(3):
        assert (await one_worker.send("GET", CHECK, headers=guess(tenant.key, address))).status == 200
        assert (await one_worker.send("GET", CHECK, headers=guess(dead, address))).status == 401

    async def is_let_in() -> bool:
        return (await one_worker.send("GET", CHECK, headers=guess(newcomer.key, address))).status == 200

    await wait_until_async(is_let_in, 5, "a key that is new to the worker, once the guessing has stopped")


async def test_a_client_cannot_choose_its_address(one_worker: World) -> None:
    """What it writes into X-Forwarded-For stands before what the proxy adds, and is not looked at."""
    statuses = set[int]()
    for number in range(2 * KEYS_AT_ONCE):
        headers = guess(f"qs_live_{number}", f"192.0.2.{number % 250}, 198.51.100.4")
        statuses.add((await one_worker.send("GET", CHECK, headers=headers)).status)
    assert statuses == {401, 429}


async def test_the_use_of_a_key_is_noted_about_once_a_minute(tenant: Tenant) -> None:
    """For jobs, by when it was; not by every request, nor by every look at Redis."""
    await tenant.seed("user_1", 10)
    before = now_at()

    async def noted() -> float | None:
        await tenant.check("user_1")
        found = await tenant.world.redis.zrange(keys.KEY_USES, 0, -1, withscores=True)
        own = [at for member, at in found if keys.parse_key_use(member)[0] == tenant.environment_id]
        return own[0] if own else None

    first = await wait_until_async(noted, 3, "a use to be noted")
    assert before <= first <= now_at()
    for _ in range(20):
        await tenant.check("user_1")
    assert await noted() == pytest.approx(first, abs=2 * 1_000_000)


async def test_a_bucket_lets_its_rate_through() -> None:
    """As many at once as it holds, then none, until time has passed."""
    bucket = Bucket(per_second=0.001, at_once=3)
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
