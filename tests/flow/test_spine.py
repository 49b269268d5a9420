"""Subscribe, check, record: the three requests of the product page, and what they promise together."""

import asyncio
from collections import Counter
from http import HTTPStatus

import pytest

from tests.flow.stack import Stack, Tenant, drained, make_catalogue, open_session


@pytest.mark.parametrize("hot", ["core", "edge"])
async def test_three_requests_of_the_product_page(tenant: Tenant, hot: str) -> None:
    """Subscribe at core; check and record at core's base URL as well as at the edge's."""
    variant = await make_catalogue(tenant.core)
    client = getattr(tenant, hot)
    subscribed = await tenant.core.created("/v1/subscriptions", {"end_user_id": "user_123", "plan_variant_id": variant})
    assert subscribed["state"] == "active"
    check = await client.get("/v1/entitlements/check", end_user_id="user_123", feature_key="api_calls")
    assert check.status == HTTPStatus.OK
    assert (check.body["allowed"], check.body["balance"]) == (True, 50_000)
    body = {"end_user_id": "user_123", "feature_key": "api_calls", "units": 1}
    used = await client.post("/v1/usage", body)
    assert used.status == HTTPStatus.ACCEPTED
    assert (used.body["accepted"], used.body["cost"], used.body["balance"]) == (True, 1, 49_999)
    check = await client.get("/v1/entitlements/check", end_user_id="user_123", feature_key="api_calls")
    assert (check.body["allowed"], check.body["balance"]) == (True, 49_999)
    credit = await drained(tenant.core, "user_123")
    assert (credit["total"], credit["balance"], credit["pending"]) == (49_999, 49_999, 0)


async def test_a_thousand_requests_with_one_key_are_one_charge(tenant: Tenant) -> None:
    """A thousand at once under one key: one event, a thousand equal answers. With other units: refused."""
    variant = await make_catalogue(tenant.core)
    await tenant.core.created("/v1/subscriptions", {"end_user_id": "one", "plan_variant_id": variant})
    body = {"end_user_id": "one", "feature_key": "api_calls", "units": 7, "idempotency_key": "the-same"}
    answers = await asyncio.gather(*[tenant.edge.post("/v1/usage", body) for _ in range(1000)])
    assert Counter((answer.status, answer.raw) for answer in answers) == {(202, answers[0].raw): 1000}
    replayed = [answer.headers.get("Idempotent-Replayed") for answer in answers]
    assert Counter(replayed) == {None: 1, "true": 999}
    other = await tenant.edge.post("/v1/usage", body | {"units": 8})
    assert (other.status, other.body["code"], other.body["mismatch"]) == (422, "idempotency_key_reused", ["units"])
    assert (await drained(tenant.core, "one"))["total"] == 50_000 - 7
    events = await tenant.core.get("/v1/usage/events", end_user_id="one")
    assert len(events.body["data"]) == 1


async def test_a_check_after_an_acknowledgement_includes_it(tenant: Tenant) -> None:
    """Ten thousand times: record on one connection, check on another, which may be another worker's."""
    variant = await make_catalogue(tenant.core, amount=100_000)
    rounds, customers = 500, 20
    for number in range(customers):
        await tenant.core.created("/v1/subscriptions", {"end_user_id": f"u{number}", "plan_variant_id": variant})

    async def record_and_check(end_user_id: str) -> None:
        async with open_session() as recording, open_session() as checking:
            recorder, checker = tenant.edge.on(recording), tenant.edge.on(checking)
            for expected in range(100_000 - 1, 100_000 - 1 - rounds, -1):
                body = {"end_user_id": end_user_id, "feature_key": "api_calls", "units": 1}
                used = await recorder.post("/v1/usage", body)
                assert used.status == HTTPStatus.ACCEPTED, used.body
                check = await checker.get("/v1/entitlements/check", end_user_id=end_user_id, feature_key="api_calls")
                assert check.body["balance"] == expected == used.body["balance"]

    await asyncio.gather(*[record_and_check(f"u{number}") for number in range(customers)])


async def test_sandbox_and_live_are_apart(tenant: Tenant) -> None:
    """A live key does not know the sandbox's customers."""
    variant = await make_catalogue(tenant.core)
    await tenant.core.created("/v1/subscriptions", {"end_user_id": "apart", "plan_variant_id": variant})
    live = tenant.edge.with_key(tenant.live_key)
    check = await live.get("/v1/entitlements/check", end_user_id="apart", feature_key="api_calls")
    assert (check.body["allowed"], check.body["reason"]) == (False, "unknown_customer")


async def test_a_catalogue_change_reaches_the_next_check(tenant: Tenant) -> None:
    """A customer made before the feature knows it as soon as the feature was created."""
    await tenant.core.created("/v1/customers", {"end_user_id": "early"})
    before = await tenant.edge.get("/v1/entitlements/check", end_user_id="early", feature_key="images")
    assert before.body["reason"] == "unknown_feature"
    price = {"kind": "flat", "amount": 2.5}
    await tenant.core.created("/v1/features", {"key": "images", "name": "Images", "kind": "metered", "price": price})
    after = await tenant.edge.get("/v1/entitlements/check", end_user_id="early", feature_key="images")
    assert (after.body["reason"], after.body["cost"]) == ("insufficient_credits", 2.5)
    await tenant.core.created("/v1/credits/grants", {"end_user_id": "early", "amount": 2.5})
    granted = await tenant.edge.get("/v1/entitlements/check", end_user_id="early", feature_key="images")
    assert (granted.body["allowed"], granted.body["balance"]) == (True, 2.5)


async def test_a_customer_who_is_made_twice_at_once_has_what_was_granted(tenant: Tenant) -> None:
    """Made by two requests at the same moment, one of which grants: the next check shows the grant."""
    variant = await make_catalogue(tenant.core)
    customers = [f"twice_{number}" for number in range(30)]

    async def make(end_user_id: str) -> None:
        made, subscribed = await asyncio.gather(
            tenant.core.post("/v1/customers", {"end_user_id": end_user_id}),
            tenant.core.post("/v1/subscriptions", {"end_user_id": end_user_id, "plan_variant_id": variant}),
        )
        assert made.status in {HTTPStatus.CREATED, HTTPStatus.CONFLICT}, made.body
        assert subscribed.status == HTTPStatus.CREATED, subscribed.body
        check = await tenant.edge.get("/v1/entitlements/check", end_user_id=end_user_id, feature_key="api_calls")
        assert check.body["balance"] == 50_000

    await asyncio.gather(*[make(end_user_id) for end_user_id in customers])


async def test_a_grant_beside_catalogue_changes(tenant: Tenant) -> None:
    """Grants and new features at once: both take the catalogue before any account, so none is in the other's way."""
    await tenant.core.created("/v1/customers", {"end_user_id": "busy"})

    async def grant(number: int) -> None:
        await tenant.core.created("/v1/credits/grants", {"end_user_id": "busy", "amount": number})

    async def add_feature(number: int) -> None:
        await tenant.core.created("/v1/features", {"key": f"f{number}", "name": "F", "kind": "metered"})

    await asyncio.gather(*[step(number) for number in range(1, 21) for step in (grant, add_feature)])
    assert (await drained(tenant.core, "busy"))["balance"] == sum(range(1, 21))


async def test_the_ledger_is_proved(stack: Stack) -> None:
    """After everything above, verify finds nothing."""
    report = await stack.verify()
    assert report.counts["accounts"] > 0
    assert report.findings == []
