"""docs/subscriptions.md: what it says a change is worth is what a change is worth."""

from pathlib import Path

import pytest

from tests.app.core import Tenant

pytestmark = pytest.mark.usefixtures("flusher")
PAGE = (Path(__file__).parents[3] / "docs" / "subscriptions.md").read_text()


async def test_the_numbers_of_the_change(tenant: Tenant) -> None:
    """From 1,000 to 5,000 credits with half of the time to go: 2,000 are granted."""
    assert "2,500 less 500 are 2,000 credits" in PAGE
    client = tenant.sandbox
    variants: list[str] = []
    for key, amount in (("team", 1_000), ("company", 5_000)):
        await client.made("/v1/plans", {"key": key, "name": key})
        ten_days = {"interval": "day", "interval_count": 10}
        body = {"key": "ten_days", **ten_days, "grants": [{"amount": amount, **ten_days}]}
        variants.append((await client.made(f"/v1/plans/{key}/variants", body))["plan_variant_id"])
    assert (await client.post("/v1/test-clock/freeze", {})).status_code == 200
    made = await client.made("/v1/subscriptions", {"end_user_id": "acme", "plan_variant_id": variants[0]})
    assert (await client.post("/v1/test-clock/advance", {"by_seconds": 5 * 86_400})).status_code == 200
    path = f"/v1/subscriptions/{made['subscription_id']}/change/preview"
    answer = await client.post(path, {"plan_variant_id": variants[1]})
    assert answer.json()["credits_granted"] == 2_000
