"""`POST /v1/features/{key}/acquire` and `/release`: holders hold once, and never more than fits."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from app.rules.moments import to_at
from app.wire import keys
from app.wire.gauges import MAX_HELD_UNITS, MAX_HOLD_SECONDS, MAX_HOLDERS, GaugeAcquired, decode_gauge
from tests.edge.kinds import acquire, held, plan_of_kinds, release
from tests.edge.world import Tenant, World, now_at

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_answers_have_every_member(tenant: Tenant) -> None:
    """Member for member, and what stands in the stream."""
    await tenant.seed("u", 0, plan_of_kinds(tenant))
    taken = await acquire(tenant, "u", "ann@example.com", units=3, ttl_seconds=60)
    shown = taken.body
    ends = datetime.fromisoformat(shown.pop("expires_at"))
    assert 55 < (ends - datetime.now(UTC)).total_seconds() <= 60
    assert (taken.status, shown) == (
        200,
        {"feature_key": "seats", "holder": "ann@example.com", "acquired": True, "units": 3, "used": 3, "limit": 10},
    )
    bare = await acquire(tenant, "u", "bob", "runs")
    assert (bare.body["limit"], bare.body["expires_at"], bare.body["units"]) == (None, None, 1)
    back = await release(tenant, "u", "ann@example.com")
    assert (back.status, back.body) == (200, {"released": True, "used": 0, "limit": 10})
    first, second, third = await tenant.entries("u")
    assert [(entry[b"k"], entry[b"c"]) for entry in (first, second, third)] == [(b"g", b"0")] * 3
    assert int(first[b"d"]) == to_at(ends)
    assert b"d" not in second
    assert decode_gauge(second[b"p"], None) == GaugeAcquired("runs", "bob", 1)


async def test_a_holder_holds_once(tenant: Tenant) -> None:
    """Asking again sets units and time anew and takes no second place; giving back twice gives back once."""
    await tenant.seed("u", 0, plan_of_kinds(tenant, cap=3))
    for units, used in ((2, 2), (2, 2), (3, 3), (1, 1)):
        answer = await acquire(tenant, "u", "h", units=units)
        assert (answer.body["units"], answer.body["used"]) == (units, used)
    assert (await acquire(tenant, "u", "h", ttl_seconds=50)).body["expires_at"]
    assert (await acquire(tenant, "u", "h")).body["expires_at"] is None
    assert [(await release(tenant, "u", "h")).body["released"] for _ in range(2)] == [True, False]
    assert (await release(tenant, "u", "never")).body == {"released": False, "used": 0, "limit": 3}
    assert await held(tenant, "u") == {}


async def test_no_more_than_fits(tenant: Tenant) -> None:
    """402 with the figures; what is refused changes nothing; who releases makes room."""
    await tenant.seed("u", 0, plan_of_kinds(tenant, cap=3))
    await acquire(tenant, "u", "a", units=2)
    answer = await acquire(tenant, "u", "b", units=2)
    assert (answer.status, answer.body["code"]) == (402, "limit_reached")
    assert answer.body["context"] == {"limit": 3, "used": 2}
    assert await held(tenant, "u") == {b"seats": b"2", b"seats\0": b"1", b"seats\0a": b"2"}
    assert (await acquire(tenant, "u", "a", units=4)).status == 402
    assert (await release(tenant, "u", "a")).body["used"] == 0
    assert (await acquire(tenant, "u", "b", units=2)).body["used"] == 2


async def test_a_hundred_at_once(tenant: Tenant) -> None:
    """At a cap of 10, from many connections on two workers: exactly ten hold, and each hears what is so."""
    await tenant.seed("u", 0, plan_of_kinds(tenant))
    answers = await asyncio.gather(*(acquire(tenant, "u", f"holder-{number}") for number in range(100)))
    assert Counter(answer.status for answer in answers) == {200: 10, 402: 90}
    assert sorted(answer.body["used"] for answer in answers if answer.status == 200) == [*range(1, 11)]
    assert (await held(tenant, "u"))[b"seats"] == b"10"
    again = await asyncio.gather(*(release(tenant, "u", f"holder-{number}") for number in range(100)))
    assert sum(answer.body["released"] for answer in again) == 10
    assert await held(tenant, "u") == {}


async def test_time_frees_by_itself(tenant: Tenant) -> None:
    """Nobody releases: the place is free, for a check, a listing, and the next who asks."""
    await tenant.seed("u", 0, plan_of_kinds(tenant, cap=1))
    await acquire(tenant, "u", "gone", ttl_seconds=3600)
    assert (await tenant.check("u", "seats")).body["reason"] == "limit_reached"
    ref, partition = keys.account_ref(tenant.ref, "u"), tenant.partition("u")
    await tenant.world.redis.zadd(keys.gauge_due(partition, ref), {"seats\0gone": now_at() - 1})
    found = (await tenant.check("u", "seats")).body
    assert (found["allowed"], found["used"], found["limit"]) == (True, 0, 1)
    assert (await acquire(tenant, "u", "next")).body["used"] == 1
    assert (await release(tenant, "u", "gone")).body["released"] is False


async def test_a_lowered_cap_throws_nobody_out(tenant: Tenant) -> None:
    """Who holds goes on holding and may renew; nobody new comes in until there is room. The new plan counts at once."""
    await tenant.seed("u", 0, plan_of_kinds(tenant, cap=3))
    for holder in ("a", "b", "c"):
        await acquire(tenant, "u", holder)
    lowered = await tenant.put_plan(plan_of_kinds(tenant, cap=1))
    await tenant.world.redis.hset(tenant.account_key("u"), "snapshot", lowered)
    renewed = await acquire(tenant, "u", "b", ttl_seconds=60)
    assert (renewed.status, renewed.body["used"], renewed.body["limit"]) == (200, 3, 1)
    found = (await tenant.check("u", "seats", units="0")).body
    assert (found["allowed"], found["used"], found["limit"]) == (True, 3, 1)
    assert (await tenant.check("u", "seats")).body["allowed"] is False
    assert (await acquire(tenant, "u", "d")).body["context"] == {"limit": 1, "used": 3}
    for holder in ("a", "b", "c"):
        await release(tenant, "u", holder)
    assert (await acquire(tenant, "u", "d")).body["used"] == 1


async def test_what_left_the_plan_is_still_given_back(tenant: Tenant) -> None:
    """Who may acquire is said by the plan that the account has, not a believed one; a release is never refused."""
    await tenant.seed("u", 0, plan_of_kinds(tenant))
    await acquire(tenant, "u", "a")
    without = await tenant.put_plan(tenant.plan(seats=plan_of_kinds(tenant).features["extra_seats"]))
    await tenant.world.redis.hset(tenant.account_key("u"), "snapshot", without)
    assert (await acquire(tenant, "u", "a")).body["code"] == "feature_not_in_plan"
    with_it = await tenant.put_plan(plan_of_kinds(tenant, cap=2))
    await tenant.world.redis.hset(tenant.account_key("u"), "snapshot", with_it)
    assert (await acquire(tenant, "u", "b")).body["used"] == 2
    await tenant.world.redis.hset(tenant.account_key("u"), "snapshot", without)
    assert (await release(tenant, "u", "a")).body == {"released": True, "used": 1, "limit": 5}


async def test_no_boundary_is_waited_for(tenant: Tenant) -> None:
    """Holding takes no credit, so what falls due of credit does not hold it up."""
    await tenant.seed("u", 0, plan_of_kinds(tenant), valid_until=1)
    assert (await acquire(tenant, "u", "a")).status == 200
    assert (await release(tenant, "u", "a")).body["released"] is True
    assert [entry[b"k"] for entry in await tenant.entries("u")] == [b"g", b"g"]


async def test_an_account_that_is_not_loaded(tenant: Tenant) -> None:
    """It is loaded first; a customer whom nobody knows is a 404."""

    async def load(question: Any) -> str:
        if question["end_user_id"] == "nobody":
            return "unknown"
        await tenant.seed(question["end_user_id"], 0, plan_of_kinds(tenant))
        return "loaded"

    tenant.world.core.answers["accounts"] = load
    assert (await acquire(tenant, "late", "a")).body["used"] == 1
    assert (await release(tenant, "later", "a")).body["released"] is False
    assert (await acquire(tenant, "nobody", "a")).body["code"] == "unknown_customer"
    assert (await release(tenant, "nobody", "a")).body["code"] == "unknown_customer"


async def test_there_are_so_many_holders_and_no_more(tenant: Tenant) -> None:
    """409; who holds already may renew."""
    await tenant.seed("u", 0, plan_of_kinds(tenant, cap=None))
    ref, partition = keys.account_ref(tenant.ref, "u"), tenant.partition("u")
    fields = {"seats": MAX_HOLDERS, "seats\0": MAX_HOLDERS, "seats\0first": 1}
    await tenant.world.redis.hset(keys.gauge(partition, ref), mapping=fields)
    answer = await acquire(tenant, "u", "one-more")
    assert (answer.status, answer.body["code"]) == (409, "too_many_holders")
    assert (await acquire(tenant, "u", "first", units=2)).body["used"] == MAX_HOLDERS + 1


@pytest.mark.parametrize(
    ("changed", "status", "code", "field"),
    [
        ({"holder": None}, 400, "invalid_body", "holder"),
        ({"holder": ""}, 422, "invalid_value", "holder"),
        ({"holder": "x" * 257}, 422, "invalid_value", "holder"),
        ({"holder": "a\0b"}, 422, "invalid_value", "holder"),
        ({"end_user_id": ""}, 422, "invalid_value", "end_user_id"),
        ({"units": 0}, 422, "invalid_units", "units"),
        ({"units": -1}, 422, "invalid_units", "units"),
        ({"units": MAX_HELD_UNITS + 1}, 422, "invalid_units", "units"),
        ({"units": 1.5}, 400, "invalid_body", "units"),
        ({"units": "1"}, 400, "invalid_body", "units"),
        ({"units": True}, 400, "invalid_body", "units"),
        ({"units": 10**30}, 422, "invalid_units", "units"),
        ({"ttl_seconds": 0}, 422, "invalid_value", "ttl_seconds"),
        ({"ttl_seconds": MAX_HOLD_SECONDS + 1}, 422, "invalid_value", "ttl_seconds"),
        ({"seconds": 1}, 400, "unknown_field", "seconds"),
    ],
)
async def test_a_bad_body_is_refused_by_name(
    tenant: Tenant, changed: dict[str, Any], status: int, code: str, field: str
) -> None:
    """And nothing is held."""
    await tenant.seed("u", 0, plan_of_kinds(tenant))
    body = {"end_user_id": "u", "holder": "h", **changed}
    answer = await tenant.send("POST", "/v1/features/seats/acquire", json=body)
    assert (answer.status, answer.body["code"]) == (status, code)
    assert [error["field"] for error in answer.body["errors"]] == [field]
    assert await held(tenant, "u") == {}


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/v1/features/seats/acquire", 405, "POST"),
        ("HEAD", "/v1/features/seats/release", 405, "POST"),
        ("POST", "/v1/features/seats/hold", 404, None),
        ("POST", "/v1/features//hold", 404, None),
        ("POST", "/v1/features/a/b/acquire", 404, None),
        ("POST", "/v1/features/seats/acquire/", 404, None),
        ("PUT", "/v1/entitlements/check", 405, "GET, POST, HEAD"),
        ("POST", "/v1/entitlements", 405, "GET, HEAD"),
    ],
)
async def test_paths_with_a_name_in_them(
    tenant: Tenant, method: str, path: str, status: int, allow: str | None
) -> None:
    """A name is one part of a path; the methods of a route are told."""
    answer = await tenant.send(method, path, json={} if method == "POST" else None)
    assert (answer.status, answer.headers.get("Allow")) == (status, allow)


async def test_a_name_is_percent_decoded(tenant: Tenant) -> None:
    """What a client library encodes is the same feature."""
    await tenant.seed("u", 0, plan_of_kinds(tenant))
    body = msgspec.json.encode({"end_user_id": "u", "holder": "h"})
    lines = ("Content-Type: application/json", f"Content-Length: {len(body)}")
    answer = await tenant.raw("POST /v1/features/se%61ts/acquire HTTP/1.1", *lines, body=body)
    assert answer.body["feature_key"] == "seats"
    assert (await tenant.raw("POST /v1/features/%ff/acquire HTTP/1.1", *lines, body=body)).status == 400


async def test_scopes(world: World) -> None:
    """Holding needs usage:write, looking entitlements:read."""
    reader, writer = await world.tenant("entitlements:read"), await world.tenant("usage:write")
    assert (await acquire(reader, "u", "h")).body["code"] == "missing_scope"
    assert (await release(reader, "u", "h")).body["code"] == "missing_scope"
    listing = await writer.send("GET", "/v1/entitlements", params={"end_user_id": "u"})
    assert listing.body["code"] == "missing_scope"
    assert (await writer.send("POST", "/v1/entitlements/check", json={"checks": []})).body["code"] == "missing_scope"


async def test_environments_do_not_share_gauges(world: World) -> None:
    """The same end user and feature in two environments are two gauges."""
    first, second = await world.tenant(), await world.tenant()
    for tenant in (first, second):
        await tenant.seed("u", 0, plan_of_kinds(tenant, cap=1))
        assert (await acquire(tenant, "u", "h")).body["used"] == 1
