"""What clients do with subscriptions, on core with a flusher beside it."""

import pytest

from tests.app.core import Core, Tenant, make_catalogue

pytestmark = pytest.mark.usefixtures("flusher")


async def test_first(core: Core, tenant: Tenant) -> None:
    variant = await make_catalogue(tenant.sandbox)
    answer = await tenant.sandbox.post("/v1/subscriptions", {"end_user_id": "user_123", "plan_variant_id": variant})
    print(answer.text)
    assert answer.status_code == 201
    sub = answer.json()["subscription_id"]
    for path, body in [
        ("renew", {"payment_reference": "p1"}),
        ("renew", {"payment_reference": "p1"}),
        ("pause", {}),
        ("pause", {}),
        ("resume", {}),
        ("cancel", {}),
        ("cancel", {"at": "now"}),
    ]:
        answer = await tenant.sandbox.post(f"/v1/subscriptions/{sub}/{path}", body)
        print(path, answer.status_code, answer.text)
        print(await tenant.sandbox.read("/v1/customers/user_123/credits"))
        view = await core.parts.redis.read_account(tenant.environment_id, "user_123")
        print(view)
    print((await tenant.sandbox.get(f"/v1/subscriptions/{sub}/history")).text)
    print((await tenant.sandbox.get("/v1/customers/user_123/ledger")).text)
    assert 0
