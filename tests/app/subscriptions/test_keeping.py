"""Nobody is subscribed to terms that would not be kept."""

from typing import Any

import pytest

from app.wire.codes import Code
from tests.app.core import Tenant
from tests.app.web.test_problems import assert_problem

GRANT = {"amount": 100, "interval": "month"}


async def make_variant(tenant: Tenant, kind: str, terms: dict[str, Any]) -> str:
    """A plan of this kind with a monthly variant; the id of the variant."""
    await tenant.sandbox.made("/v1/plans", {"key": "p", "name": "P", "kind": kind})
    body = {"key": "v", "interval": "month", **terms}
    return (await tenant.sandbox.made("/v1/plans/p/variants", body))["plan_variant_id"]


@pytest.mark.parametrize(
    ("terms", "balance"),
    [
        ({}, 0),
        ({"grants": [GRANT]}, 100),
        ({"grants": [GRANT | {"priority": 3}], "billing_mode": "postpaid", "grace_period_days": 9}, 100),
        ({"interval_count": 3, "grants": [GRANT | {"interval_count": 3}]}, 100),
    ],
)
async def test_terms_that_are_kept(tenant: Tenant, terms: dict[str, Any], balance: int) -> None:
    """Nothing, or one grant of the variant's interval: the first period's credit is there."""
    body = {"end_user_id": "u", "plan_variant_id": await make_variant(tenant, "base", terms)}
    await tenant.sandbox.made("/v1/subscriptions", body)
    assert (await tenant.sandbox.read("/v1/customers/u/credits"))["balance"] == balance


@pytest.mark.parametrize(
    ("kind", "terms", "said"),
    [
        ("addon", {}, "addon"),
        ("base", {"trial_days": 1}, "trial"),
        ("base", {"grants": [GRANT, GRANT]}, "more than one grant"),
        ("base", {"grants": [GRANT | {"once": True}]}, "once"),
        ("base", {"grants": [GRANT | {"interval": "week"}]}, "interval of its own"),
        ("base", {"grants": [GRANT | {"interval_count": 2}]}, "interval of its own"),
        ("base", {"grants": [GRANT | {"expires_after": {"interval": "month"}}]}, "expires_after"),
        ("base", {"grants": [GRANT | {"rollover": {"percent": 50}}]}, "rolls over"),
        ("base", {"grants": [GRANT | {"accumulation_cap": 100}]}, "accumulation_cap"),
    ],
)
async def test_terms_that_are_not(tenant: Tenant, kind: str, terms: dict[str, Any], said: str) -> None:
    """Refused with what it is, and no customer is made. A version without them can be subscribed to."""
    body = {"end_user_id": "u", "plan_variant_id": await make_variant(tenant, kind, terms)}
    problem = assert_problem(await tenant.sandbox.post("/v1/subscriptions", body), Code.TERMS_UNSUPPORTED)
    assert said in problem["detail"]
    assert_problem(await tenant.sandbox.get("/v1/customers/u"), Code.UNKNOWN_CUSTOMER)
    if kind == "base":
        await tenant.sandbox.made("/v1/plans/p/variants/v/versions", {"interval": "month", "grants": [GRANT]})
        await tenant.sandbox.made("/v1/subscriptions", body)
