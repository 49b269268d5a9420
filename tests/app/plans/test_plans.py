"""Plans and their variants."""

from typing import Any

import pytest

from app.wire.codes import Code
from tests.app.core import Tenant
from tests.app.web.test_problems import assert_problem

GRANT = {"amount": 100, "interval": "month"}


async def make_features(tenant: Tenant) -> None:
    """The plan `pro` and the features `a` and `b`, without a variant."""
    for key in ("a", "b"):
        await tenant.sandbox.made("/v1/features", {"key": key, "name": key.upper()})
    await tenant.sandbox.made("/v1/plans", {"key": "pro", "name": "Pro"})


async def test_plans(tenant: Tenant) -> None:
    """Made, found, listed by key, unique."""
    pro = await tenant.sandbox.made("/v1/plans", {"key": "pro", "name": "Pro"})
    free = await tenant.sandbox.made("/v1/plans", {"key": "free", "name": "Free"})
    assert pro["plan_id"].startswith("plan_")
    assert await tenant.sandbox.read("/v1/plans/pro") == pro
    assert (await tenant.sandbox.read("/v1/plans"))["data"] == [free, pro]
    assert_problem(await tenant.sandbox.post("/v1/plans", {"key": "pro", "name": "P"}), Code.CONFLICT)


async def test_a_variant_is_shown_as_it_was_made(tenant: Tenant) -> None:
    """With its defaults filled in, in the answer and in the list."""
    await make_features(tenant)
    sent = {
        "key": "monthly",
        "interval": "month",
        "overage_policy": "notify",
        "overage_limit": 50,
        "grants": [{"amount": 0.5, "interval": "month", "priority": 7}],
        "features": [
            {"feature_key": "b", "price": {"kind": "flat", "amount": 2}, "overage_policy": "allow", "limit": 0},
            {"feature_key": "a", "limit": 2.5, "overage_limit": 0},
        ],
    }
    made = await tenant.sandbox.made("/v1/plans/pro/variants", sent)
    assert made.pop("plan_variant_id").startswith("var_")
    assert made.pop("created_at")
    assert made == {
        "plan_key": "pro",
        "version": 1,
        **sent,
        "interval_count": 1,
        "grants": [{"amount": 0.5, "interval": "month", "interval_count": 1, "priority": 7}],
        "features": [
            {"feature_key": "a", "price": None, "prices": [], "overage_policy": None, "overage_limit": 0, "limit": 2.5},
            {
                "feature_key": "b",
                "price": {"kind": "flat", "amount": 2},
                "prices": [],
                "overage_policy": "allow",
                "overage_limit": None,
                "limit": 0,
            },
        ],
    }
    bare = await tenant.sandbox.made("/v1/plans/pro/variants", {"key": "weekly", "interval": "week"})
    assert (bare["grants"], bare["features"], bare["overage_policy"], bare["overage_limit"]) == ([], [], "block", None)
    listed = (await tenant.sandbox.read("/v1/plans/pro/variants"))["data"]
    assert [variant["key"] for variant in listed] == ["monthly", "weekly"]
    assert listed[1] == bare


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"grants": [GRANT, GRANT]}, Code.INVALID_VALUE, "grants"),
        ({"grants": [GRANT | {"amount": 0}]}, Code.INVALID_VALUE, "grants[0].amount"),
        ({"grants": [GRANT | {"interval": "week"}]}, Code.INVALID_VALUE, "grants[0].interval"),
        ({"grants": [GRANT | {"interval_count": 2}]}, Code.INVALID_VALUE, "grants[0].interval"),
        ({"grants": [GRANT | {"priority": -1}]}, Code.INVALID_VALUE, "grants[0].priority"),
        ({"interval": "decade"}, Code.INVALID_VALUE, "interval"),
        ({"interval_count": 0}, Code.INVALID_VALUE, "interval_count"),
        ({"interval": "year", "interval_count": 101}, Code.INVALID_VALUE, "interval_count"),
        ({"overage_policy": "maybe"}, Code.INVALID_VALUE, "overage_policy"),
        ({"features": [{"feature_key": "a"}, {"feature_key": "a"}]}, Code.INVALID_VALUE, "features[1].feature_key"),
        ({"features": [{"feature_key": "a"}, {"feature_key": "z"}]}, Code.UNKNOWN_FEATURE, "features[1].feature_key"),
        ({"overage_limit": 5}, Code.INVALID_VALUE, "overage_limit"),
        ({"overage_policy": "allow", "overage_limit": -1}, Code.INVALID_VALUE, "overage_limit"),
        (
            {
                "overage_policy": "allow",
                "features": [{"feature_key": "a", "overage_policy": "block", "overage_limit": 5}],
            },
            *(Code.INVALID_VALUE, "features[0].overage_limit"),
        ),
        ({"features": [{"feature_key": "a", "overage_limit": 5}]}, Code.INVALID_VALUE, "features[0].overage_limit"),
        ({"features": [{"feature_key": "a", "limit": -1}]}, Code.INVALID_VALUE, "features[0].limit"),
        ({"features": [{"feature_key": "a", "limit": 10**10}]}, Code.INVALID_VALUE, "features[0].limit"),
        ({"features": [{"key": "a"}]}, Code.UNKNOWN_FIELD, "features[0].key"),
    ],
)
async def test_variants_that_cannot_be(tenant: Tenant, change: dict[str, Any], code: Code, field: str) -> None:
    """Each is refused by name, and nothing of it remains."""
    await make_features(tenant)
    answer = await tenant.sandbox.post("/v1/plans/pro/variants", {"key": "v", "interval": "month"} | change)
    assert_problem(answer, code, field)
    assert (await tenant.sandbox.read("/v1/plans/pro/variants"))["data"] == []


async def test_variants_belong_to_their_plan(tenant: Tenant) -> None:
    """Keys are unique within a plan; a plan that there is not has none."""
    await make_features(tenant)
    await tenant.sandbox.made("/v1/plans", {"key": "free", "name": "Free"})
    body = {"key": "monthly", "interval": "month"}
    for plan in ("pro", "free"):
        await tenant.sandbox.made(f"/v1/plans/{plan}/variants", body)
    assert_problem(await tenant.sandbox.post("/v1/plans/pro/variants", body), Code.CONFLICT)
    assert_problem(await tenant.sandbox.post("/v1/plans/none/variants", body), Code.NOT_FOUND)
    assert_problem(await tenant.sandbox.get("/v1/plans/none/variants"), Code.NOT_FOUND)
