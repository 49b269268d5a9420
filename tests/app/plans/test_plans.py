"""Plans and their variants."""

from typing import Any

import pytest

from app.wire.codes import Code
from tests.app.core import Tenant
from tests.app.web.test_problems import assert_problem

GRANT = {"amount": 100, "interval": "month"}
PLAIN = {
    "interval": "month",
    "interval_count": 1,
    "once": False,
    "priority": 100,
    "expires_after": None,
    "rollover": None,
    "accumulation_cap": None,
}
"""What is shown of a grant whose amount and interval alone were said."""
DEFAULTS = {
    "interval_count": 1,
    "billing_mode": "prepaid",
    "trial_days": 0,
    "renewal_due_days": 3,
    "grace_period_days": 3,
    "allow_usage_while_overdue": False,
    "usable_while_paused": False,
}
TERMS = {
    "billing_mode": "postpaid",
    "trial_days": 14,
    "renewal_due_days": 0,
    "grace_period_days": 366,
    "allow_usage_while_overdue": True,
    "usable_while_paused": True,
}
GRANTS = [
    {"amount": 100, "interval": "month"},
    {"amount": 100, "interval": "week", "interval_count": 2, "rollover": {"percent": 100}},
    {"amount": 3, "interval": "day", "expires_after": {"interval": "day", "interval_count": 366}},
    {"amount": 9, "key": "welcome", "once": True, "expires_after": {"interval": "year", "interval_count": 100}},
    {"amount": 9, "once": True, "accumulation_cap": 9},
    {"amount": 9, "interval": "month", "rollover": {"percent": 1, "cap": 0.5}, "accumulation_cap": 9},
    {"amount": 0.000001, "interval": "year", "interval_count": 100, "priority": 0},
]
YEARS = {"interval": "year", "interval_count": 101}


def shown_of(grants: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is shown of grants, with their defaults filled in and called by their place where they have no key."""
    shown: list[dict[str, Any]] = []
    for place, grant in enumerate(grants, 1):
        cycle = {"interval": None, "interval_count": None} if grant.get("once") else {}
        rollover = {"rollover": {"cap": None} | grant["rollover"]} if "rollover" in grant else {}
        shown.append(PLAIN | cycle | {"key": str(place)} | grant | rollover)
    return shown


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
    extra = await tenant.sandbox.made("/v1/plans", {"key": "extra", "name": "Extra", "kind": "addon"})
    assert (pro["kind"], extra["kind"]) == ("base", "addon")
    answer = await tenant.sandbox.post("/v1/plans", {"key": "other", "name": "O", "kind": "bundle"})
    assert_problem(answer, Code.INVALID_VALUE, "kind")
    assert_problem(await tenant.sandbox.post("/v1/plans", {"key": "pro", "name": "P"}), Code.CONFLICT)


async def test_a_plan_is_called_otherwise(tenant: Tenant) -> None:
    """Its name changes, and nothing else of it or of other plans; what cannot be changed is refused."""
    pro, free = [await tenant.sandbox.made("/v1/plans", {"key": key, "name": "P"}) for key in ("pro", "free")]
    answer = await tenant.sandbox.send("PATCH", "/v1/plans/pro", json={"name": "Professional"})
    assert (answer.status_code, answer.json()) == (200, pro | {"name": "Professional"})
    assert (await tenant.sandbox.read("/v1/plans"))["data"] == [free, answer.json()]
    for change, code, field in (
        ({"name": ""}, Code.INVALID_VALUE, "name"),
        ({}, Code.INVALID_BODY, "name"),
        ({"name": "P", "kind": "addon"}, Code.UNKNOWN_FIELD, "kind"),
    ):
        assert_problem(await tenant.sandbox.send("PATCH", "/v1/plans/pro", json=change), code, field)
    for client, key in ((tenant.sandbox, "none"), (tenant.live, "pro")):
        assert_problem(await client.send("PATCH", f"/v1/plans/{key}", json={"name": "P"}), Code.NOT_FOUND)
    assert await tenant.sandbox.read("/v1/plans/pro") == answer.json()


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
    assert made.pop("created_at") == made.pop("published_at")
    assert made == {
        "plan_key": "pro",
        "plan_kind": "base",
        "version": 1,
        **sent,
        **DEFAULTS,
        "grants": [PLAIN | {"key": "1", "amount": 0.5, "priority": 7}],
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
        ({"grants": [GRANT] * 21}, Code.INVALID_VALUE, "grants"),
        ({"grants": [GRANT | {"amount": 0}]}, Code.INVALID_VALUE, "grants[0].amount"),
        ({"grants": [GRANT, GRANT | {"interval": "moon"}]}, Code.INVALID_VALUE, "grants[1].interval"),
        ({"grants": [GRANT | {"interval_count": 367}]}, Code.INVALID_VALUE, "grants[0].interval_count"),
        ({"grants": [{"amount": 1}]}, Code.INVALID_VALUE, "grants[0].interval"),
        ({"grants": [{"amount": 1, "interval_count": 2}]}, Code.INVALID_VALUE, "grants[0].interval"),
        ({"grants": [GRANT | {"once": True}]}, Code.INVALID_VALUE, "grants[0].interval"),
        (
            {"grants": [{"amount": 1, "once": True, "interval_count": 1}]},
            *(Code.INVALID_VALUE, "grants[0].interval_count"),
        ),
        ({"grants": [GRANT | {"key": "A"}]}, Code.INVALID_VALUE, "grants[0].key"),
        ({"grants": [GRANT | {"key": ""}]}, Code.INVALID_VALUE, "grants[0].key"),
        ({"grants": [GRANT | {"key": "a"}, GRANT | {"key": "a"}]}, Code.INVALID_VALUE, "grants[1].key"),
        ({"grants": [GRANT | {"key": "2"}, GRANT]}, Code.INVALID_VALUE, "grants[1].key"),
        ({"grants": [GRANT | YEARS]}, Code.INVALID_VALUE, "grants[0].interval_count"),
        ({"grants": [GRANT | {"expires_after": {}}]}, Code.INVALID_BODY, "grants[0].expires_after.interval"),
        (
            {"grants": [GRANT | {"expires_after": YEARS}]},
            *(Code.INVALID_VALUE, "grants[0].expires_after.interval_count"),
        ),
        ({"grants": [GRANT | {"accumulation_cap": 99}]}, Code.INVALID_VALUE, "grants[0].accumulation_cap"),
        *[
            ({"grants": [GRANT | {"rollover": {"percent": percent}}]}, Code.INVALID_VALUE, "grants[0].rollover.percent")
            for percent in (0, 101)
        ],
        (
            {"grants": [GRANT | {"rollover": {"percent": 1, "cap": 0}}]},
            *(Code.INVALID_VALUE, "grants[0].rollover.cap"),
        ),
        (
            {"grants": [{"amount": 1, "once": True, "rollover": {"percent": 1}}]},
            *(Code.INVALID_VALUE, "grants[0].rollover"),
        ),
        (
            {"grants": [GRANT | {"rollover": {"percent": 1}, "expires_after": {"interval": "month"}}]},
            *(Code.INVALID_VALUE, "grants[0].rollover"),
        ),
        (
            {"grants": [{"amount": 1, "interval": "day", "expires_after": {"interval": "year", "interval_count": 2}}]},
            *(Code.INVALID_VALUE, "grants"),
        ),
        ({"billing_mode": "later"}, Code.INVALID_VALUE, "billing_mode"),
        *[
            ({name: days}, Code.INVALID_VALUE, name)
            for name in ("trial_days", "renewal_due_days", "grace_period_days")
            for days in (-1, 367)
        ],
        ({"usable_while_paused": "yes"}, Code.INVALID_BODY, "usable_while_paused"),
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
    made = await tenant.sandbox.made("/v1/plans/pro/variants", {"key": "v", "interval": "month"})
    answer = await tenant.sandbox.post("/v1/plans/pro/variants/v/versions", {"interval": "month"} | change)
    assert_problem(answer, code, field)
    assert (await tenant.sandbox.read("/v1/plans/pro/variants/v/versions"))["data"] == [made]


async def test_terms_and_grants_are_shown_as_they_were_sent(tenant: Tenant) -> None:
    """Each with its defaults filled in, the grants in their order; what is shown can be sent again."""
    await make_features(tenant)
    body = {"key": "v", "interval": "month", **TERMS, "grants": GRANTS}
    made = await tenant.sandbox.made("/v1/plans/pro/variants", body)
    assert {name: made[name] for name in TERMS} == TERMS
    assert made["grants"] == shown_of(GRANTS)
    assert (await tenant.sandbox.read("/v1/plans/pro/variants"))["data"] == [made]
    again = {"key": "again", "interval": "month", "grants": made["grants"]}
    assert (await tenant.sandbox.made("/v1/plans/pro/variants", again))["grants"] == made["grants"]
    most = {"key": "most", "interval": "month", "grants": [GRANT] * 20}
    assert (await tenant.sandbox.made("/v1/plans/pro/variants", most))["grants"] == shown_of([GRANT] * 20)


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
