"""`GET /v1/entitlements/check`: what is answered, and what is refused."""

from typing import Any

import pytest

from app.rules.credits import MICRO
from app.rules.pricing import PerUnitPrice, always
from app.rules.totals import MODULUS
from app.wire.scopes import Scope
from app.wire.snapshot import FeatureTerms
from tests.edge.world import PRICE_ID, Tenant, World

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATH = "/v1/entitlements/check"


async def test_an_answer_has_every_member(tenant: Tenant) -> None:
    """The body of a check, member for member."""
    await tenant.seed("user_1", 1000)
    answer = await tenant.check("user_1")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.body == {
        "allowed": True,
        "balance": 1000,
        "feature_key": "api_calls",
        "units": 1,
        "cost": 1,
        "reserved": 0,
        "reason": None,
        "overage_policy": "block",
        "subscription_status": "active",
        "value": None,
        "limit": None,
        "used": None,
        "resets_at": None,
        "version": 3,
    }


@pytest.mark.parametrize(
    ("feature_key", "units", "expected"),
    [
        ("api_calls", "10", {"allowed": True, "cost": 10, "units": 10}),
        ("api_calls", "10.000001", {"allowed": False, "reason": "insufficient_credits", "units": 10.000001}),
        ("api_calls", "0", {"allowed": True, "cost": 0, "units": 0}),
        ("api_calls", "0.5", {"allowed": True, "cost": 0.5, "units": 0.5}),
        ("api_calls", "1e1", {"allowed": True, "cost": 10, "units": 10}),
        ("tokens", "1500", {"allowed": True, "cost": 4.5}),
        ("image", "1", {"allowed": True, "cost": 10}),
        ("image", "0", {"allowed": True, "cost": 0}),
        ("lenient", "11", {"allowed": True, "reason": None, "overage_policy": "notify"}),
        ("extra", "1", {"allowed": False, "reason": "feature_not_in_plan"}),
        ("unpriced", "1", {"allowed": False, "reason": "feature_not_in_plan"}),
        ("no-such", "1", {"allowed": False, "reason": "unknown_feature", "cost": 0, "overage_policy": None}),
    ],
)
async def test_reasons_and_costs(tenant: Tenant, feature_key: str, units: str, expected: dict[str, Any]) -> None:
    """With 10 credits: what may be used, what it costs, and why not."""
    await tenant.seed("user_1", 10)
    body = (await tenant.check("user_1", feature_key, units=units)).body
    assert {name: body[name] for name in expected} == expected
    assert body["balance"] == 10


async def test_without_a_subscription_defaults_apply(tenant: Tenant) -> None:
    """A feature with a price of its own may be used, one without may not."""
    await tenant.seed("user_1", 10, tenant.plan(subscribed=False), status="none")
    assert (await tenant.check("user_1", "extra")).body["allowed"] is True
    assert (await tenant.check("user_1", "unpriced")).body["reason"] == "no_subscription"


async def test_the_floor_is_what_may_be_owed(tenant: Tenant) -> None:
    """A floor below zero widens what is allowed, and does not show in the balance."""
    await tenant.seed("user_1", 10, floor=-5 * MICRO)
    body = (await tenant.check("user_1", units="15")).body
    assert (body["allowed"], body["balance"]) == (True, 10)
    assert (await tenant.check("user_1", units="16")).body["allowed"] is False


async def test_the_balance_is_exact_across_the_modulus(tenant: Tenant) -> None:
    """The total of what was accepted may have wrapped while the other has not: 0.000003 of 10 credits are under way."""
    await tenant.seed("user_1", 10, applied=MODULUS - 1, accepted=2)
    assert b'"balance":9.999997,' in (await tenant.check("user_1")).raw


@pytest.mark.parametrize("may_enroll", [True, False])
async def test_a_customer_whom_nobody_knows(world: World, may_enroll: bool) -> None:  # noqa: FBT001 - both are tried
    """200, not allowed, a balance of 0; core was asked, and may enrol them for a key that may record usage."""
    scopes = (Scope.ENTITLEMENTS_READ, Scope.USAGE_WRITE) if may_enroll else (Scope.ENTITLEMENTS_READ,)
    tenant = await world.tenant(*scopes)
    answer = await tenant.check("nobody")
    assert answer.status == 200
    assert (answer.body["allowed"], answer.body["balance"]) == (False, 0)
    assert answer.body["reason"] == "unknown_customer"
    question = {"environment_id": str(tenant.environment_id), "end_user_id": "nobody", "enroll": may_enroll}
    assert tenant.world.core.asked == [("accounts", question)]


@pytest.mark.parametrize("end_user_id", ["müller", "a b+c&d=e%", "x" * 256, "用户", "o'neil@example.com", "🙂"])
async def test_any_printable_name_is_a_customer(tenant: Tenant, end_user_id: str) -> None:
    """Names come through percent-encoding as they are."""
    await tenant.seed(end_user_id, 7)
    assert (await tenant.check(end_user_id)).body["balance"] == 7
    await tenant.seed("other", 8)
    assert (await tenant.check("other")).body["balance"] == 8


async def test_a_query_ends_with_its_line(tenant: Tenant) -> None:
    """A '#' begins what no server is sent; somebody in between might ask about another customer than we."""
    answer = await tenant.raw("GET /v1/entitlements/check?end_user_id=a&feature_key=b#c HTTP/1.1")
    assert (answer.status, answer.body["code"]) == (400, "invalid_body")


@pytest.mark.parametrize(
    ("query", "status", "code", "field"),
    [
        ("feature_key=a", 400, "invalid_body", "end_user_id"),
        ("end_user_id=a", 400, "invalid_body", "feature_key"),
        ("", 400, "invalid_body", "end_user_id"),
        ("end_user_id=a&feature_key=b&unit=1", 400, "unknown_field", "unit"),
        ("end_user_id=a&feature_key=b&feature_key=c", 400, "invalid_body", "feature_key"),
        ("end_user_id=a&feature_key=b&units=x", 400, "invalid_body", "units"),
        ("end_user_id=a&feature_key=b&units=", 400, "invalid_body", "units"),
        ("end_user_id=a&feature_key=b&units=true", 400, "invalid_body", "units"),
        ("end_user_id=a&feature_key=b&units=NaN", 400, "invalid_body", "units"),
        ("end_user_id=%ff&feature_key=b", 400, "invalid_body", "end_user_id"),
        ("end_user_id=a&feature_key=b&units=-1", 422, "invalid_units", "units"),
        ("end_user_id=a&feature_key=b&units=0.1234567", 422, "invalid_units", "units"),
        ("end_user_id=a&feature_key=b&units=1000000001", 422, "invalid_units", "units"),
        ("end_user_id=a&feature_key=b&units=1e999999999", 422, "invalid_units", "units"),
        ("end_user_id=a&feature_key=b&units=1e-9", 422, "invalid_units", "units"),
        ("end_user_id=&feature_key=b", 422, "invalid_value", "end_user_id"),
        (f"end_user_id={'x' * 257}&feature_key=b", 422, "invalid_value", "end_user_id"),
        ("end_user_id=a%00b&feature_key=b", 422, "invalid_value", "end_user_id"),
        ("end_user_id=a&feature_key=a%0Ab", 422, "invalid_value", "feature_key"),
        (f"end_user_id=a&feature_key={'x' * 65}", 422, "invalid_value", "feature_key"),
        ("end_user_id=a&feature_key=b&properties=", 400, "invalid_body", "properties"),
        ("end_user_id=a&feature_key=b&properties=[]", 400, "invalid_body", "properties"),
        ("end_user_id=a&feature_key=b&properties=%7B%22a%22", 400, "invalid_body", "properties"),
        ("end_user_id=a&feature_key=b&properties=%7B%7D%7B%7D", 400, "invalid_body", "properties"),
        ("end_user_id=a&feature_key=b&properties=%ff", 400, "invalid_body", "properties"),
        (f"end_user_id=a&feature_key=b&properties=%7B{'+' * 4096}%7D", 422, "invalid_value", "properties"),
    ],
)
async def test_a_bad_query_is_refused_by_name(tenant: Tenant, query: str, status: int, code: str, field: str) -> None:
    """Every refusal names the parameter."""
    reader = await tenant.raw(f"GET {PATH}?{query} HTTP/1.1")
    assert (reader.status, reader.body["code"]) == (status, code)
    assert [error["field"] for error in reader.body["errors"]] == [field]


async def test_a_cost_beyond_the_bound(tenant: Tenant) -> None:
    """One event may cost 10⁹ credits, so no check says yes to more."""
    dear = FeatureTerms(always(PRICE_ID, PerUnitPrice(2 * MICRO)), included=True)
    await tenant.seed("user_1", 10, tenant.plan(dear=dear))
    answer = await tenant.check("user_1", "dear", units="1000000000")
    assert (answer.status, answer.body["code"]) == (422, "cost_too_large")
    assert (await tenant.check("user_1", "dear", units="500000000")).status == 200


async def test_environments_do_not_see_each_other(world: World) -> None:
    """The same end user in two environments is two customers."""
    first, second = await world.tenant(), await world.tenant()
    await first.seed("user_1", 5)
    assert (await first.check("user_1")).body["balance"] == 5
    assert (await second.check("user_1")).body["reason"] == "unknown_customer"
