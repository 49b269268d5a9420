"""The terms that subscriptions live by are those that a version was made with."""

from typing import Any
from uuid import UUID

import pytest

from app.io.postgres import Database, Transaction
from app.plans import service, store
from app.plans.terms import template_id
from app.rules.periods import IntervalUnit
from app.rules.terms import (
    BillingMode,
    GrantTemplate,
    Interval,
    PlanKind,
    RolloverRule,
    SubscriptionTerms,
    VersionName,
)
from app.wire.ids import parse
from tests.app.core import Tenant
from tests.conftest import DatabaseUrls

VERSIONS = "/v1/plans/extra/variants/v/versions"
FULL: dict[str, Any] = {
    "interval": "week",
    "interval_count": 2,
    "billing_mode": "postpaid",
    "trial_days": 14,
    "renewal_due_days": 1,
    "grace_period_days": 2,
    "allow_usage_while_overdue": True,
    "usable_while_paused": True,
    "grants": [
        {
            "amount": 100,
            "key": "base",
            "interval": "month",
            "rollover": {"percent": 33, "cap": 0.5},
            "accumulation_cap": 150,
            "priority": 7,
        },
        {"amount": 1, "interval": "day", "expires_after": {"interval": "year"}},
        {"amount": 5, "key": "welcome", "once": True},
        {"amount": 6, "once": True, "expires_after": {"interval": "day", "interval_count": 9}},
        {"amount": 7, "key": "all", "interval": "month", "rollover": {"percent": 100}},
    ],
}
BARE = {
    "interval": "month",
    "grants": [{"amount": 5, "key": "welcome", "once": True}, {"amount": 9, "interval": "year"}],
}


def templates(variant_id: UUID) -> tuple[GrantTemplate, ...]:
    """What the first version grants."""
    month, day, year = (Interval(unit) for unit in (IntervalUnit.MONTH, IntervalUnit.DAY, IntervalUnit.YEAR))
    half = RolloverRule(330_000, 500_000)
    return (
        GrantTemplate(template_id(variant_id, "base"), 100_000_000, month, None, 7, half, 150_000_000),
        GrantTemplate(template_id(variant_id, "2"), 1_000_000, day, year),
        GrantTemplate(template_id(variant_id, "welcome"), 5_000_000, None),
        GrantTemplate(template_id(variant_id, "4"), 6_000_000, None, Interval(IntervalUnit.DAY, 9)),
        GrantTemplate(template_id(variant_id, "all"), 7_000_000, month, rollover=RolloverRule(1_000_000)),
    )


@pytest.mark.parametrize("role", ["quotastack_core", "quotastack_flusher"])
async def test_they_are_what_was_said(tenant: Tenant, urls: DatabaseUrls, role: str) -> None:
    """Of several versions at once, whoever asks; one of another environment is not there, nor one that nobody made."""
    plan = await tenant.sandbox.made("/v1/plans", {"key": "extra", "name": "E", "kind": "addon"})
    made = await tenant.sandbox.made("/v1/plans/extra/variants", {"key": "v", **FULL})
    variant_id, plan_id = parse("var", made["plan_variant_id"]), parse("plan", plan["plan_id"])
    database = await Database.open(urls.of(role), "terms", 1)
    scope = tenant.environment_id if role == "quotastack_core" else None

    async def present(tx: Transaction) -> store.Variant | None:
        return await store.read_variant(tx, tenant.environment_id, variant_id)

    try:
        first = await database.run(scope, present)
        await tenant.sandbox.made(VERSIONS, BARE)
        second = await database.run(scope, present)
        assert first is not None
        assert second is not None
        versions = [first.version_id, second.version_id, UUID(int=1), first.version_id]
        asked = [(tenant.environment_id, version_id) for version_id in versions]
        found = await database.run(scope, lambda tx: service.read_terms(tx, asked))
        other = parse("env", tenant.made["live_environment_id"])
        elsewhere = [(other, version_id) for version_id in versions]
        assert await database.run(scope, lambda tx: service.read_terms(tx, elsewhere)) == {}
    finally:
        await database.close()

    def name(variant: store.Variant, version: int) -> VersionName:
        return VersionName(plan_id, "extra", PlanKind.ADDON, variant_id, "v", variant.version_id, version)

    assert found == {
        first.version_id: SubscriptionTerms(
            *(name(first, 1), Interval(IntervalUnit.WEEK, 2), BillingMode.POSTPAID, templates(variant_id)),
            *(14, 1, 2, True, True),
        ),
        second.version_id: SubscriptionTerms(
            *(name(second, 2), Interval(IntervalUnit.MONTH), BillingMode.PREPAID),
            grants=(
                GrantTemplate(template_id(variant_id, "welcome"), 5_000_000, None),
                GrantTemplate(template_id(variant_id, "2"), 9_000_000, Interval(IntervalUnit.YEAR)),
            ),
        ),
    }


def test_a_grant_is_the_same_under_its_key() -> None:
    """In the variant, for ever: customers who have it are told apart by it. In another variant it is another one."""
    variant = UUID("0198a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b")
    assert template_id(variant, "welcome") == UUID("45d9be27-acfd-8dc4-b17f-15c5a78a08d6")
    names = {template_id(UUID(int=number), key) for number in range(3) for key in ("a", "b", "ab")}
    assert len(names) == 9
