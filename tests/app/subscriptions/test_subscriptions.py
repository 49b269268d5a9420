"""Subscribing customers to plans."""

import pytest

from app.wire.codes import Code
from tests.app.core import Core, Tenant, make_catalogue
from tests.app.metering.test_features import published_terms
from tests.app.schema.catalogue import connected
from tests.app.web.test_problems import assert_problem
from tests.conftest import DatabaseUrls

pytestmark = pytest.mark.usefixtures("flusher")


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
    assert (view.available_micro, view.subscription_status) == (50_000_000_000, "active")
    assert (await published_terms(core, tenant, "user_123"))["api_calls"].included


async def test_a_second_one_is_refused_with_the_first(tenant: Tenant) -> None:
    """`context` names the one in force."""
    variant = await make_catalogue(tenant.sandbox)
    body = {"end_user_id": "u", "plan_variant_id": variant}
    first = await tenant.sandbox.made("/v1/subscriptions", body)
    problem = assert_problem(await tenant.sandbox.post("/v1/subscriptions", body), Code.SUBSCRIPTION_EXISTS)
    assert problem["context"] == {"subscription_id": first["subscription_id"]}


async def test_finding_and_listing(tenant: Tenant) -> None:
    """One, all, and those of one customer."""
    variant = await make_catalogue(tenant.sandbox)
    made = [
        await tenant.sandbox.made("/v1/subscriptions", {"end_user_id": name, "plan_variant_id": variant})
        for name in ("a", "b")
    ]
    assert await tenant.sandbox.read(f"/v1/subscriptions/{made[0]['subscription_id']}") == made[0]
    assert (await tenant.sandbox.read("/v1/subscriptions"))["data"] == made
    assert (await tenant.sandbox.read("/v1/subscriptions", end_user_id="b"))["data"] == made[1:]
    assert (await tenant.sandbox.read("/v1/subscriptions", end_user_id="c"))["data"] == []
    first = await tenant.sandbox.read("/v1/subscriptions", limit=1)
    second = await tenant.sandbox.read("/v1/subscriptions", limit=1, cursor=first["next_cursor"])
    assert first["data"] + second["data"] == made
    assert second["next_cursor"] is None


async def test_a_variant_that_there_is_not(core: Core, tenant: Tenant) -> None:
    """404; an id of something else is 422; neither makes the customer."""
    stranger = await core.tenant("stranger")
    foreign = await make_catalogue(stranger.sandbox)
    for variant, code, field in (
        (foreign, Code.NOT_FOUND, None),
        ("var_" + "0" * 32, Code.NOT_FOUND, None),
        ("var_...", Code.INVALID_VALUE, "plan_variant_id"),
        (foreign.replace("var", "sub"), Code.INVALID_VALUE, "plan_variant_id"),
    ):
        answer = await tenant.sandbox.post("/v1/subscriptions", {"end_user_id": "u", "plan_variant_id": variant})
        assert_problem(answer, code, field)
    assert_problem(await tenant.sandbox.get("/v1/customers/u"), Code.UNKNOWN_CUSTOMER)


async def test_what_it_leaves_behind(tenant: Tenant, urls: DatabaseUrls) -> None:
    """The customer and the subscription in the outbox; the grant in the ledger, with who, why and which key."""
    variant = await make_catalogue(tenant.sandbox)
    body = {"end_user_id": "u", "plan_variant_id": variant}
    made = (await tenant.sandbox.post("/v1/subscriptions", body, key="k")).json()
    async with connected(urls.owner) as connection:
        rows = await connection.fetch(
            "SELECT type, end_user_id, data ->> 'end_user_id' AS name FROM outbox ORDER BY type"
        )
    types = ["credits.granted", "customer.created", "subscription.created"]
    assert [tuple(row) for row in rows] == [(event_type, "u", "u") for event_type in types]
    grant = (await tenant.sandbox.read("/v1/customers/u/ledger"))["data"][0]
    assert (grant["kind"], grant["reason"], grant["idempotency_key"]) == ("grant", made["subscription_id"], "k")
    assert grant["actor"].startswith("key_")


async def test_a_state_that_there_is_not(tenant: Tenant) -> None:
    """Is named as the client called it."""
    answer = await tenant.sandbox.get("/v1/subscriptions", state="alive")
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == "state", answer.text
