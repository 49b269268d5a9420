"""What can stand in the way of an answer: an account that is not loaded, one at its boundary, an unknown plan."""

import asyncio
import time
from typing import Any

import pytest

from app.rules.credits import MICRO
from app.rules.pricing import PerUnitPrice, always
from app.wire import keys
from app.wire.snapshot import FeatureTerms
from tests.edge.world import PRICE_ID, Answer, Tenant, asked_twice, now_at
from tests.waiting import wait_until_async

SOON_SECONDS = 1.5
"""Less than the edge waits for a publish. A disk that stands still for longer keeps the publish from coming in time."""

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def ask(tenant: Tenant, kind: str) -> Answer:
    """A check or a usage event of user_1, enforced: other usage goes to the spool where it cannot be decided on."""
    return await (tenant.check("user_1") if kind == "check" else tenant.use("user_1", enforce=True))


# ---- the account is not loaded


async def test_a_miss_is_loaded_once_for_all_who_ask(tenant: Tenant) -> None:
    """200 requests for one customer who is not loaded: each worker asks core once, and all are answered."""
    released = asyncio.Event()

    async def load(question: dict[str, Any]) -> str:
        await released.wait()
        if not await tenant.world.redis.exists(tenant.account_key(question["end_user_id"])):
            await tenant.seed(question["end_user_id"], 1000)
        return "loaded"

    tenant.world.core.answers["accounts"] = load
    requests = [ask(tenant, kind) for kind in ("check", "usage") * 100]
    answering = asyncio.gather(*requests)
    await wait_until_async(lambda: _is_asked(tenant), 5, "core is asked")
    released.set()
    answers = await answering
    assert sorted({answer.status for answer in answers}) == [200, 202]
    assert 1 <= len(tenant.world.core.asked) <= 2  # workers
    assert (await tenant.check("user_1")).body["balance"] == 900


async def _is_asked(tenant: Tenant) -> bool:
    return bool(tenant.world.core.asked)


@pytest.mark.parametrize("kind", ["check", "usage"])
@pytest.mark.parametrize(
    ("status", "code"),
    [("busy", "account_loading"), ("broken", "account_unavailable"), ("loaded", "account_unavailable")],
)
async def test_an_account_that_core_does_not_bring(tenant: Tenant, kind: str, status: str, code: str) -> None:
    """503 with Retry-After: busy, no answer, or said to be there when it is not, which is asked again a few times."""

    async def load(_: object) -> str:
        return status

    tenant.world.core.answers["accounts"] = load
    answer = await ask(tenant, kind)
    assert (answer.status, answer.body["code"]) == (503, code)
    assert answer.headers["Retry-After"] == "1"
    assert len(tenant.world.core.asked) <= 5


# ---- the account is at its boundary


@pytest.mark.parametrize("kind", ["check", "usage"])
async def test_at_the_boundary_a_tick_is_left_and_the_publish_awaited(tenant: Tenant, kind: str) -> None:
    """One tick, however many ask; all are answered from what is published, once a slow disk lets them."""
    await tenant.seed("user_1", 1000, valid_until=now_at() - 1)
    answering = asyncio.gather(*(asked_twice(lambda: ask(tenant, kind)) for _ in range(30)))
    await wait_until_async(lambda: tenant.entries("user_1"), 5, "a tick is left")
    (tick,) = await tenant.entries("user_1")
    assert (tick[b"k"], tick[b"c"], tick[b"r"]) == (b"t", b"0", b"3")
    published = {"revision": 4, "base": 500 * MICRO, "valid_until": now_at() + 60 * MICRO}
    await tenant.world.redis.hset(tenant.account_key("user_1"), mapping=published)
    answers = await answering
    assert {answer.status for answer in answers} == {200 if kind == "check" else 202}
    assert max(answer.body["balance"] for answer in answers) == (500 if kind == "check" else 499)
    assert [entry[b"k"] for entry in await tenant.entries("user_1")].count(b"t") == 1


async def test_time_does_not_go_back(tenant: Tenant) -> None:
    """An account whose last decision is dated ahead of our clock is judged by that date."""
    ahead = now_at() + 3600 * MICRO
    await tenant.seed("user_1", 10, last_at=ahead, valid_until=ahead + 1)
    assert (await tenant.check("user_1")).status == 200
    assert (await tenant.use("user_1")).status == 202
    await tenant.seed("user_1", 10, last_at=ahead, valid_until=ahead)
    answer = await tenant.check("user_1")
    assert (answer.status, answer.body["code"]) == (503, "account_unavailable")


@pytest.mark.parametrize("kind", ["check", "usage"])
async def test_a_publish_that_does_not_come(tenant: Tenant, kind: str) -> None:
    """503 after two seconds, and no decision was taken."""
    await tenant.seed("user_1", 1000, valid_until=now_at() - 1)
    began = time.monotonic()
    answer = await ask(tenant, kind)
    assert 1.9 < time.monotonic() - began < 4
    assert (answer.status, answer.body["code"]) == (503, "account_unavailable")
    assert [entry[b"k"] for entry in await tenant.entries("user_1")] == [b"t"]


# ---- the plan is another


async def test_an_event_is_priced_with_the_plan_that_the_account_has(tenant: Tenant) -> None:
    """A worker that remembers the old plan prices again; the entry carries the new price."""
    await tenant.seed("user_1", 1000)
    for _ in range(8):  # both workers come to know the plan
        assert (await tenant.use("user_1")).body["cost"] == 1
    dear = FeatureTerms(always(PRICE_ID, PerUnitPrice(5 * MICRO)), included=True)
    await tenant.seed("user_1", 1000, tenant.plan(api_calls=dear))
    answers = await asyncio.gather(*(tenant.use("user_1") for _ in range(40)))
    assert {answer.body["cost"] for answer in answers} == {5}
    assert (await tenant.check("user_1")).body["balance"] == 800


async def test_a_refusal_is_of_the_plan_that_the_account_has(tenant: Tenant) -> None:
    """What the old plan refused, the new one accepts, and the other way about."""
    await tenant.seed("user_1", 1000)
    for _ in range(8):
        assert (await tenant.use("user_1", "no_such")).status == 404
    added = FeatureTerms(always(PRICE_ID, PerUnitPrice(MICRO)), included=True)
    await tenant.seed("user_1", 1000, tenant.plan(no_such=added))
    assert [(await tenant.use("user_1", "no_such")).status for _ in range(8)] == [202] * 8
    await tenant.seed("user_1", 1000)
    assert [(await tenant.use("user_1", "no_such")).status for _ in range(8)] == [404] * 8


@pytest.mark.parametrize("kind", ["check", "usage"])
async def test_a_plan_that_core_brings(tenant: Tenant, kind: str) -> None:
    """A snapshot that Redis has lost is fetched through core, once."""
    snapshot_id = await tenant.seed("user_1", 1000)
    content = await tenant.world.redis.getdel(keys.plan(snapshot_id))
    released = asyncio.Event()

    async def load(question: dict[str, Any]) -> str:
        assert question == {"environment_id": str(tenant.environment_id), "snapshot_id": snapshot_id}
        await released.wait()
        await tenant.world.redis.set(keys.plan(snapshot_id), content)
        return "loaded"

    tenant.world.core.answers["plans"] = load
    answering = asyncio.gather(*(ask(tenant, kind) for _ in range(30)))
    await wait_until_async(lambda: _is_asked(tenant), 5, "core is asked")
    released.set()
    assert {answer.status for answer in await answering} == {200 if kind == "check" else 202}
    assert 1 <= len(tenant.world.core.asked) <= 2  # workers


async def test_a_plan_that_nobody_has(tenant: Tenant) -> None:
    """503: the customer cannot be decided on."""
    await tenant.world.redis.delete(keys.plan(await tenant.seed("user_1", 1000)))
    for kind in ("check", "usage"):
        answer = await ask(tenant, kind)
        assert (answer.status, answer.body["code"]) == (503, "account_unavailable")


async def test_a_plan_of_another_version(tenant: Tenant) -> None:
    """503 until a snapshot that this version can read is published."""
    key = keys.plan(await tenant.seed("user_1", 1000))
    content = await tenant.world.redis.get(key)
    await tenant.world.redis.set(key, content.replace(b'"rates"', b'"price"'))
    for kind in ("check", "usage"):
        answer = await ask(tenant, kind)
        assert (answer.status, answer.body["code"]) == (503, "account_unavailable")
    await tenant.world.redis.set(key, content)
    assert (await tenant.use("user_1")).status == 202


# ---- one batch with all of it


async def test_a_batch_waits_for_what_has_to_be_waited_for(tenant: Tenant) -> None:
    """Loaded, not loaded, unknown and at a boundary in one batch: each gets its own answer."""
    await tenant.seed("here", 10)
    await tenant.seed("due", 10, valid_until=now_at() - 1)

    async def load(question: dict[str, Any]) -> str:
        if question["end_user_id"] != "away":
            return "unknown"
        await tenant.seed("away", 10)
        return "loaded"

    tenant.world.core.answers["accounts"] = load
    users, began = ["here", "due", "away", "nobody", "here"], time.monotonic()
    answering = asyncio.create_task(tenant.batch([{"end_user_id": user, "feature_key": "api_calls"} for user in users]))
    await wait_until_async(lambda: tenant.entries("due"), 5, "a tick is left")
    published = {"revision": 4, "base": 5 * MICRO, "valid_until": now_at() + 60 * MICRO}
    await tenant.world.redis.hset(tenant.account_key("due"), mapping=published)
    is_spooled = time.monotonic() - began > SOON_SECONDS
    results = (await answering).body["results"]
    assert [result["status"] for result in results] == ["accepted", "accepted", "accepted", "rejected", "accepted"]
    assert results[1]["balance"] == 4 or is_spooled
    assert results[2]["balance"] == 9
    assert results[3]["code"] == "unknown_customer"
    assert {results[0]["balance"], results[4]["balance"]} == {9, 8}


async def test_a_batch_of_which_nothing_could_be_decided(tenant: Tenant) -> None:
    """503 for the whole, so that a client's retry takes it up."""

    async def busy(_: object) -> str:
        return "busy"

    tenant.world.core.answers["accounts"] = busy
    users = [f"user_{number}" for number in range(3)]
    events = [{"end_user_id": user, "feature_key": "api_calls", "enforce": True} for user in users]
    answer = await tenant.batch(events)
    assert (answer.status, answer.body["code"]) == (503, "account_loading")
    await tenant.seed("user_0", 10)
    answer = await tenant.batch(events)
    assert answer.status == 202
    assert [result["code"] for result in answer.body["results"]] == [None, "account_loading", "account_loading"]
