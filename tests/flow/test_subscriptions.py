"""Subscriptions in the whole product: what edges answer as they move, and what was used in periods that close."""

from datetime import timedelta
from http import HTTPStatus
from typing import Any

import asyncpg
import msgspec

from tests.flow.stack import Stack, Tenant, drained

TEN_DAYS: dict[str, Any] = {"interval": "day", "interval_count": 10}


async def subscribed(tenant: Tenant, **terms: Any) -> str:
    """The path of `u`'s subscription to a plan of 100 credits every ten days, on a clock that stands still."""
    core = tenant.core
    price = {"kind": "per_unit", "amount": 1}
    for key in ("api_calls", "pages"):
        await core.created("/v1/features", {"key": key, "name": key, "price": price, "limit": 1_000})
    await core.created("/v1/plans", {"key": "pro", "name": "Pro"})
    variant = {
        "key": "ten_days",
        **TEN_DAYS,
        "grants": [{"amount": 100, **TEN_DAYS}],
        "features": [{"feature_key": "api_calls"}, {"feature_key": "pages"}],
        **terms,
    }
    made = await core.created("/v1/plans/pro/variants", variant)
    assert (await core.post("/v1/test-clock/freeze", {})).status == HTTPStatus.OK
    body = {"end_user_id": "u", "plan_variant_id": made["plan_variant_id"]}
    return f"/v1/subscriptions/{(await core.created('/v1/subscriptions', body))['subscription_id']}"


async def use(tenant: Tenant, units: int, feature_key: str = "api_calls") -> None:
    """Usage of `u`."""
    body = {"end_user_id": "u", "feature_key": feature_key, "units": units}
    answer = await tenant.edge.post("/v1/usage", body)
    assert answer.status == HTTPStatus.ACCEPTED, answer.body


async def pass_time(tenant: Tenant, **delta: float) -> None:
    """Move the clock on."""
    seconds = int(timedelta(**delta).total_seconds())
    answer = await tenant.core.post("/v1/test-clock/advance", {"by_seconds": seconds})
    assert answer.status == HTTPStatus.OK, answer.body


async def why_not(tenant: Tenant) -> str | None:
    """Why an edge says no by now; None = it says yes."""
    answer = await tenant.edge.get("/v1/entitlements/check", end_user_id="u", feature_key="api_calls", units="1")
    return None if answer.body["allowed"] else answer.body["reason"]


async def closed_periods(stack: Stack, tenant: Tenant) -> list[Any]:
    """What was told of periods that are over, in time's order."""
    connection = await asyncpg.connect(stack.stores.database_url)
    try:
        statement = (
            "SELECT data -> 'closed_period' AS closed FROM outbox "
            "WHERE type = 'subscription.renewed' AND environment_id = $1 ORDER BY created_at"
        )
        rows = await connection.fetch(statement, tenant.environment_id)
    finally:
        await connection.close()
    return [msgspec.json.decode(row["closed"]) for row in rows]


async def test_edges_follow_each_action(tenant: Tenant) -> None:
    """The first check after an answer goes by it. Credit outlives a cancellation, and the feature has its own price."""
    path = await subscribed(tenant)
    assert await why_not(tenant) is None
    for action, body, expected in (
        ("pause", {}, "subscription_paused"),
        ("resume", {}, None),
        ("cancel", {"at": "now"}, None),
    ):
        answer = await tenant.core.post(f"{path}/{action}", body)
        assert answer.status == HTTPStatus.OK, answer.body
        assert await why_not(tenant) == expected


async def test_edges_follow_time(tenant: Tenant) -> None:
    """Nobody pays: the period's end takes the credit and the right to use; a late payment brings both back."""
    path = await subscribed(tenant, grace_period_days=5)
    await pass_time(tenant, days=10)
    assert await why_not(tenant) == "subscription_overdue"
    assert (await tenant.core.post(f"{path}/renew", {})).status == HTTPStatus.OK
    assert await why_not(tenant) is None
    await pass_time(tenant, days=15)
    assert (await tenant.core.get(path)).body["state"] == "expired"
    assert await why_not(tenant) == "insufficient_credits"


async def test_coming_back_resets_no_limit(tenant: Tenant) -> None:
    """What was used of the free plan's limit stays used in its period, however often somebody leaves it meanwhile."""
    core = tenant.core
    paid = await subscribed(tenant, billing_mode="postpaid")
    await core.created("/v1/plans", {"key": "free", "name": "Free"})
    terms = {"key": "ten_days", **TEN_DAYS, "billing_mode": "postpaid", "grants": [{"amount": 100, **TEN_DAYS}]}
    limited = [{"feature_key": "api_calls", "limit": 5}]
    free = await core.created("/v1/plans/free/variants", {**terms, "features": limited})
    changed = await core.send("PATCH", "/v1/environment", json={"free_plan_variant_id": free["plan_variant_id"]})
    assert changed.status == HTTPStatus.OK, changed.body
    again = {"end_user_id": "u", "plan_variant_id": (await core.get(paid)).body["plan_variant_id"]}
    for expected in (None, "limit_reached", "limit_reached"):
        assert (await core.post(f"{paid}/cancel", {"at": "now"})).status == HTTPStatus.OK
        assert await why_not(tenant) == expected
        if expected is None:
            await use(tenant, 5)
            assert await why_not(tenant) == "limit_reached"
        await pass_time(tenant, days=1)
        paid = f"/v1/subscriptions/{(await core.created('/v1/subscriptions', again))['subscription_id']}"
        assert await why_not(tenant) is None
        await use(tenant, 2)
    await pass_time(tenant, days=7)
    assert (await core.post(f"{paid}/cancel", {"at": "now"})).status == HTTPStatus.OK
    assert await why_not(tenant) is None


async def test_what_was_used_in_a_period(stack: Stack, tenant: Tenant) -> None:
    """Each feature's units, credits and events, of that period alone though it ends within an hour."""
    await subscribed(tenant, billing_mode="postpaid", overage_policy="allow")
    await use(tenant, 30)
    await pass_time(tenant, days=4, minutes=7)
    await use(tenant, 5)
    await use(tenant, 2, "pages")
    await pass_time(tenant, days=5, hours=23, minutes=52)
    await use(tenant, 80)
    await pass_time(tenant, minutes=1)
    await use(tenant, 7)
    await pass_time(tenant, days=10)
    first, second = await closed_periods(stack, tenant)
    assert [(used["feature_key"], used["units"], used["credits"], used["events"]) for used in first["usage"]] == [
        ("api_calls", 115, 115, 3),
        ("pages", 2, 2, 1),
    ]
    assert second["usage"] == [{"feature_key": "api_calls", "units": 7, "credits": 7, "events": 1}]
    assert (first["overage_billed"], second["overage_billed"]) == (17, 0)
    assert first["period_end"] == second["period_start"]
    assert (await drained(tenant.core, "u"))["total"] == 100
    assert (await stack.verify()).findings == []
