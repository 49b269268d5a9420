"""Hard limits of units per period: what they refuse, what they do not, and what a check says of them."""

import asyncio
from typing import Any

import pytest

from app.rules.credits import MICRO
from app.rules.entitlement import OveragePolicy
from app.rules.moments import to_rfc3339
from app.rules.pricing import GraduatedPrice, PerUnitPrice, Tier, always
from app.wire import keys
from app.wire.snapshot import FeatureTerms
from tests.edge.world import PRICE_ID, Tenant, asked_twice, now_at
from tests.waiting import wait_until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")

FEATURE = "limited"
"""Of the plan that tests have by default: 1 credit a unit, 10 units a period."""
PERIOD_AT = 1_700_000_000 * MICRO
RESETS_AT = now_at() + 3600 * MICRO
COUNTED: dict[str, Any] = {"period": PERIOD_AT, "resets_at": RESETS_AT}


async def seed(tenant: Tenant, balance: int = 1000, used: int = 0) -> None:
    """A customer in a period that ends in an hour."""
    await tenant.seed("user_1", balance, **COUNTED)
    await set_used(tenant, used)


async def set_used(tenant: Tenant, used: int) -> None:
    """As the ledger's figures would."""
    await tenant.world.redis.hset(used_key(tenant), FEATURE, used * MICRO)


def used_key(tenant: Tenant) -> bytes:
    """The customer's counters."""
    return keys.used(tenant.partition("user_1"), keys.account_ref(tenant.ref, "user_1"))


async def check(tenant: Tenant, **more: Any) -> Any:
    """What a check says of the limit."""
    answer = await tenant.check("user_1", FEATURE, **more)
    assert answer.status == 200, answer.raw
    return {name: answer.body[name] for name in ("allowed", "reason", "limit", "used", "resets_at")}


def said(used: int, reason: str | None = None) -> dict[str, Any]:
    """What a check should say."""
    shown = {"limit": 10, "used": used, "resets_at": to_rfc3339(RESETS_AT)}
    return {"allowed": reason is None, "reason": reason, **shown}


async def test_parallel_units_never_go_beyond_the_limit(tenant: Tenant) -> None:
    """100 enforced events of one unit at once, over both workers, at a limit of 10: exactly 10 are accepted."""
    await seed(tenant)
    answers = await asyncio.gather(*(tenant.use("user_1", FEATURE, enforce=True) for _ in range(100)))
    assert sorted(answer.status for answer in answers) == [202] * 10 + [402] * 90
    assert {answer.body["code"] for answer in answers if answer.status == 402} == {"limit_reached"}
    entries = await tenant.entries("user_1")
    assert [entry[b"s"] for entry in entries] == [b"%d" % PERIOD_AT] * 10
    assert await tenant.world.redis.hgetall(used_key(tenant)) == {FEATURE.encode(): b"%d" % (10 * MICRO)}
    assert await check(tenant) == said(10, "limit_reached")


async def test_a_refusal_is_remembered_and_says_how_far_it_is(tenant: Tenant) -> None:
    """402 with limit, used and when counting begins anew; a replay in a new period says the same, byte for byte."""
    await seed(tenant, used=8)
    sent = {"units": 2.5, "enforce": True, "idempotency_key": "k"}
    first = await tenant.use("user_1", FEATURE, **sent)
    assert (first.status, first.body["code"]) == (402, "limit_reached")
    assert first.body["context"] == {"limit": 10, "used": 8, "resets_at": to_rfc3339(RESETS_AT)}
    assert first.body["instance"].startswith("evt_")
    await set_used(tenant, 0)
    again = await tenant.use("user_1", FEATURE, **sent)
    assert (again.status, again.raw) == (402, first.raw)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert await tenant.entries("user_1") == []


async def test_usage_that_is_not_enforced_is_counted_beyond_the_limit(tenant: Tenant) -> None:
    """It is recorded whatever the limit, alone and in a batch."""
    await seed(tenant, used=9)
    assert (await tenant.use("user_1", FEATURE, units=5)).status == 202
    event = {"end_user_id": "user_1", "feature_key": FEATURE}
    answer = await tenant.batch([event, {**event, "enforce": True}, {**event, "feature_key": "api_calls"}])
    results = answer.body["results"]
    assert [result["status"] for result in results] == ["accepted", "rejected", "accepted"]
    assert results[1]["code"] == "limit_reached"
    assert results[1]["detail"].startswith("15 of 10 units are used")
    assert await check(tenant) == said(15, "limit_reached")
    assert [b"s" in entry for entry in await tenant.entries("user_1")] == [True, True, False]


@pytest.mark.parametrize(
    ("balance", "used", "units", "reason"),
    [
        (1000, 9, 1, None),
        (1000, 9, 2, "limit_reached"),
        (0, 9, 2, "limit_reached"),
        (0, 9, 1, "insufficient_credits"),
        (0, 10, 0, None),
    ],
)
async def test_the_limit_comes_before_credit(
    tenant: Tenant, balance: int, used: int, units: int, reason: str | None
) -> None:
    """A check and enforced usage say the same; more credit does not help against a limit."""
    await seed(tenant, balance, used)
    assert await check(tenant, units=units) == said(used, reason)
    if units:
        answer = await tenant.use("user_1", FEATURE, units=units, enforce=True)
        assert answer.body.get("code") == reason


async def test_a_new_period_is_seen_at_its_beginning(tenant: Tenant) -> None:
    """At the period's end nothing is decided until the ledger has turned it; then counting begins anew."""
    over: dict[str, Any] = COUNTED | {"resets_at": now_at() - 1, "valid_until": now_at() - 1}
    await tenant.seed("user_1", 1000, **over)
    await set_used(tenant, 10)
    answering = asyncio.gather(
        check(tenant),
        asked_twice(lambda: tenant.use("user_1", FEATURE, units=10, enforce=True, idempotency_key="k")),
    )
    await wait_until_async(lambda: tenant.entries("user_1"), 5, "a tick is left")
    await tenant.world.redis.delete(used_key(tenant))
    turned = {"revision": 4, "period": PERIOD_AT + 1, "resets_at": RESETS_AT, "valid_until": RESETS_AT}
    await tenant.world.redis.hset(tenant.account_key("user_1"), mapping=turned)
    checked, used = await answering
    assert (used.status, checked["resets_at"]) == (202, to_rfc3339(RESETS_AT))
    assert (await tenant.entries("user_1"))[-1][b"s"] == b"%d" % (PERIOD_AT + 1)


async def test_a_worker_that_believes_in_another_plan_asks_again(tenant: Tenant) -> None:
    """A feature that is counted from now on, or no more, is answered by the plan that the account has."""
    free = FeatureTerms(always(PRICE_ID, PerUnitPrice(MICRO)), included=True)
    await tenant.seed("user_1", 1000, tenant.plan(limited=free))
    for _ in range(8):  # both workers come to know the plan
        assert (await tenant.use("user_1", FEATURE)).status == 202
    assert (await check(tenant))["limit"] is None
    await seed(tenant, used=10)
    for _ in range(8):
        assert await check(tenant) == said(10, "limit_reached")
        assert (await tenant.use("user_1", FEATURE, enforce=True)).status == 402
    await tenant.seed("user_1", 1000, tenant.plan(limited=free))
    for _ in range(8):
        assert await check(tenant) == {**said(0), "limit": None, "used": None, "resets_at": None}


@pytest.mark.parametrize(
    ("balance", "cost", "code"), [(3, 8, None), (3, 9, "insufficient_credits"), (-5, 1, "insufficient_credits")]
)
async def test_overage_ends_at_its_limit(tenant: Tenant, balance: int, cost: int, code: str | None) -> None:
    """Where overage is allowed up to 5 credits, checks and enforced usage go so far; other usage goes on."""
    lent = FeatureTerms(always(PRICE_ID, PerUnitPrice(MICRO)), True, OveragePolicy.ALLOW, None, 5 * MICRO)  # noqa: FBT003
    await tenant.seed("user_1", balance, tenant.plan(lent=lent))
    assert (await tenant.check("user_1", "lent", units=cost)).body["reason"] == code
    assert (await tenant.use("user_1", "lent", units=cost, enforce=True)).body.get("code") == code
    assert (await tenant.use("user_1", "lent", units=cost)).status == 202


async def test_a_graduated_price_goes_up_its_tiers(tenant: Tenant) -> None:
    """Each event moves the counter by which the next is charged, enforced or not; a check is charged as it would be."""
    tiers = GraduatedPrice((Tier(10, 3 * MICRO), Tier(None, MICRO)))
    rising = FeatureTerms(always(PRICE_ID, tiers), included=True)
    await tenant.seed("user_1", 1000, tenant.plan(rising=rising), **COUNTED)
    costs = [(await tenant.use("user_1", "rising", units=8)).body["cost"] for _ in range(2)]
    assert costs == [24, 12]
    body = (await tenant.check("user_1", "rising", units=2)).body
    assert (body["cost"], body["used"], body["limit"], body["resets_at"]) == (2, 16, None, to_rfc3339(RESETS_AT))
    assert [entry[b"s"] for entry in await tenant.entries("user_1")] == [b"%d" % PERIOD_AT] * 2
