"""Putting end users on the free plan when they are first seen."""

import asyncio
from typing import Any

import pytest

from app.errors import ServiceError
from app.subscriptions.enrolling import AT_ONCE, PER_SECOND, Enroller
from app.wire.codes import Code
from tests.app.core import EVENTS_OF_A_FEATURE, Core, Tenant
from tests.app.web.test_problems import assert_problem

pytestmark = pytest.mark.usefixtures("flusher")


async def want_enrolment(tenant: Tenant, *, auto_enroll: bool = True) -> None:
    """A free plan of ten credits a month, and whether unknown end users are put on it."""
    await tenant.sandbox.made("/v1/features", EVENTS_OF_A_FEATURE)
    await tenant.sandbox.made("/v1/plans", {"key": "free", "name": "Free"})
    terms: dict[str, Any] = {
        "key": "monthly",
        "interval": "month",
        "billing_mode": "postpaid",
        "grants": [{"amount": 10, "interval": "month"}],
        "features": [{"feature_key": "api_calls"}],
    }
    free = await tenant.sandbox.made("/v1/plans/free/variants", terms)
    wanted = {"free_plan_variant_id": free["plan_variant_id"], "auto_enroll": auto_enroll}
    answer = await tenant.sandbox.send("PATCH", "/v1/environment", json=wanted)
    assert answer.status_code == 200, answer.text


async def look_for(core: Core, tenant: Tenant, end_user_id: str, *, enroll: bool = True) -> str:
    """What core answers an edge that does not find somebody."""
    asked = {"environment_id": str(tenant.environment_id), "end_user_id": end_user_id, "enroll": enroll}
    answer = await core.edge.post("/internal/accounts/load", asked)
    assert answer.status_code == 200, answer.text
    return answer.json()["status"]


async def test_whoever_is_seen_is_on_the_free_plan(core: Core, tenant: Tenant) -> None:
    """With its credit, once, however many edges see them at the same time."""
    await want_enrolment(tenant)
    assert await asyncio.gather(*(look_for(core, tenant, "u") for _ in range(8))) == ["loaded"] * 8
    [subscription] = (await tenant.sandbox.read("/v1/subscriptions"))["data"]
    assert (subscription["end_user_id"], subscription["plan_key"], subscription["state"]) == ("u", "free", "active")
    view = await core.parts.redis.read_account(tenant.environment_id, "u")
    assert view is not None
    assert (view.available_micro, view.subscription_status) == (10_000_000, "active")
    [change] = (await tenant.sandbox.read(f"/v1/subscriptions/{subscription['subscription_id']}/history"))["data"]
    assert (change["action"], change["actor"]) == ("create", "auto_enroll")


async def test_nobody_is_who_may_not(core: Core, tenant: Tenant) -> None:
    """Neither where the key may not record usage, nor where the environment does not want it."""
    await want_enrolment(tenant)
    assert await look_for(core, tenant, "u", enroll=False) == "unknown"
    wanted = {"auto_enroll": False}
    assert (await tenant.sandbox.send("PATCH", "/v1/environment", json=wanted)).status_code == 200
    assert await look_for(core, tenant, "u") == "unknown"
    assert_problem(await tenant.sandbox.get("/v1/customers/u"), Code.UNKNOWN_CUSTOMER)


async def test_a_customer_who_is_made_is_enrolled_too(tenant: Tenant) -> None:
    """By the answer; a replay of it makes nothing more."""
    await want_enrolment(tenant)
    for _ in range(2):
        assert (await tenant.sandbox.post("/v1/customers", {"end_user_id": "u"}, key="k")).status_code == 201
    [subscription] = (await tenant.sandbox.read("/v1/subscriptions", end_user_id="u"))["data"]
    assert subscription["plan_key"] == "free"


async def test_strangers_come_at_a_pace(core: Core, tenant: Tenant) -> None:
    """Beyond it they are told to come again, each environment by itself; whoever is made by name is not held up."""
    await want_enrolment(tenant)
    now = 0.0
    enroller = Enroller(core.parts.database, core.parts.orders, core.parts.clock, lambda: now)
    pace = enroller._pace  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - five hundred enrolments would say no more
    for _ in range(AT_ONCE):
        pace.take(tenant.environment_id)
    with pytest.raises(ServiceError) as refused:
        await enroller.enroll(tenant.environment_id, "u", is_paced=True)
    assert refused.value.code is Code.TOO_MANY_REQUESTS
    assert await enroller.enroll(tenant.environment_id, "made")
    now = 1 / PER_SECOND
    assert await enroller.enroll(tenant.environment_id, "u", is_paced=True)
