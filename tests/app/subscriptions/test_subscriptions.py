"""Subscribing customers to plans."""

from tests.app.core import Core, Tenant, make_catalogue


async def test_the_first_step_of_the_tutorial(core: Core, tenant: Tenant) -> None:
    """Subscribing an unknown user makes the customer, grants the plan's credit, and the edge knows of it at once."""
    variant = await make_catalogue(tenant.sandbox)
    answer = await tenant.sandbox.post("/v1/subscriptions", {"end_user_id": "user_123", "plan_variant_id": variant})
    assert answer.status_code == 201
    body = answer.json()
    assert body["subscription_id"].startswith("sub_")
    assert (body["end_user_id"], body["plan_variant_id"], body["state"]) == ("user_123", variant, "active")
    credit = await tenant.sandbox.read("/v1/customers/user_123/credits")
    assert (credit["balance"], credit["total"], credit["pending"], credit["debt"]) == (50_000, 50_000, 0, 0)
    assert [block["expires_at"] for block in credit["blocks"]] == [body["period_end"]]
    view = await core.parts.redis.read_account(tenant.environment_id, "user_123")
    assert view is not None
    assert view.available_micro == 50_000_000_000
    assert view.subscription_status == "active"
