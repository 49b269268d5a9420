"""API keys: where they may stand, what they may do, and what happens to keys that nobody issued."""

import asyncio
from uuid import uuid4

import pytest

from app.wire import key_digest, keys
from app.wire.scopes import Scope
from app.wire.snapshot import ApiKeyRecord, encode_api_key
from edge.auth import Bucket
from tests.edge.world import PEPPER, Tenant, World, now_at
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
    """A flood of well-formed keys is a 429 with Retry-After; a known key goes on."""
    tenant = await world.tenant()
    await tenant.seed("user_1", 10)

    async def unknown(_: object) -> str:
        return "unknown"

    world.core.answers["keys"] = unknown
    flood = [{"X-API-Key": key_digest.make_key("live", uuid4().int)} for _ in range(400)]
    answers = await asyncio.gather(*(world.send("GET", CHECK, headers=headers) for headers in flood))
    assert {answer.status for answer in answers} == {401, 429}
    throttled = next(answer for answer in answers if answer.status == 429)
    assert (throttled.body["code"], throttled.headers["Retry-After"]) == ("too_many_requests", "1")
    assert (await tenant.check("user_1")).status == 200


async def test_a_bucket_lets_its_rate_through() -> None:
    """As many at once as it holds, then none, until time has passed."""
    bucket = Bucket(per_second=0.001, at_once=3)
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
