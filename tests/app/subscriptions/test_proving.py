"""What `quotastack ledger verify` says of subscriptions and of what they bill."""

import pytest

from app.ledger.proof import Finding
from app.ledger.verify import verify
from tests.app.core import Core, Tenant
from tests.app.schema.catalogue import connected
from tests.app.subscriptions.studio import TEN_DAYS, Studio
from tests.conftest import DatabaseUrls

pytestmark = pytest.mark.usefixtures("flusher")


async def findings(core: Core, urls: DatabaseUrls) -> list[Finding]:
    """What it finds."""
    report = await verify(urls.owner, core.parts.redis, None, None)
    return [found.finding for found in report.findings]


async def end_with_debt(tenant: Tenant) -> None:
    """Somebody owes seven credits when their postpaid subscription is canceled, which bills them."""
    client = tenant.sandbox
    await client.made("/v1/plans", {"key": "pro", "name": "Pro"})
    variant = await client.made(
        "/v1/plans/pro/variants", {"key": "monthly", "interval": "month", "billing_mode": "postpaid"}
    )
    asked = {"end_user_id": "u", "plan_variant_id": variant["plan_variant_id"]}
    made = await client.made("/v1/subscriptions", asked)
    debit = {"end_user_id": "u", "amount": -7, "reason": "owed", "allow_debt": True}
    await client.made("/v1/credits/adjustments", debit)
    answer = await client.post(f"/v1/subscriptions/{made['subscription_id']}/cancel", {"at": "now"})
    assert answer.json()["state"] == "canceled"
    kinds = [transaction["kind"] for transaction in (await client.read("/v1/customers/u/ledger"))["data"]]
    assert "overage_billed" in kinds


async def test_a_subscription_bills_without_an_order_of_its_own(core: Core, tenant: Tenant, urls: DatabaseUrls) -> None:
    """Subscribing and canceling have no transactions of their own, and the period that was cut short is billed."""
    await end_with_debt(tenant)
    assert await findings(core, urls) == []


async def test_whoever_has_no_subscription_is_billed_by_order_only(
    core: Core, tenant: Tenant, urls: DatabaseUrls
) -> None:
    """A billing that neither an order nor a subscription explains is found."""
    await end_with_debt(tenant)
    async with connected(urls.owner) as connection:
        await connection.execute("UPDATE subscriptions SET plan_kind = 'addon'")
    [finding] = await findings(core, urls)
    assert (finding.invariant, finding.message) == (63, "was ordered by nobody")


async def test_what_comes_back_expires_at_once_for_a_reason(studio: Studio) -> None:
    """Where it had rolled over, and the payment never came that was waited for; else it is found."""
    credit = {"amount": 100, **TEN_DAYS, "rollover": {"percent": 100}}
    terms = {"interval": "week", "interval_count": 4, "grace_period_days": 7, "grants": [credit]}
    made = await studio.subscribe(await studio.plan("pro", 0, **terms))
    await studio.pass_days(31)
    held = await studio.reserve(40)
    await studio.pass_days(5)
    await studio.release(held)
    assert ((await studio.show(made))["state"], await studio.total()) == ("expired", 0)
    assert await findings(studio.core, studio.urls) == []
    async with connected(studio.urls.owner) as connection:
        await connection.execute("UPDATE subscriptions SET period_end_at = period_end_at + interval '9 days'")
    found = await findings(studio.core, studio.urls)
    assert {finding.invariant for finding in found} == {31}
    assert [finding.message.split()[0] for finding in found] == ["debt", "expired"]
