"""Grants that become effective later, under a cap, or that roll over; adjustments that take. On the running product."""

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from tests.flow.stack import Answer, Stack, Tenant, drained, make_catalogue
from tests.waiting import wait_until_async

FEATURE = "api_calls"


async def make_customer(tenant: Tenant, amount: int) -> None:
    """The customer u with so many credits, and a feature to spend them on."""
    await make_catalogue(tenant.core)
    await tenant.core.created("/v1/customers", {"end_user_id": "u"})
    await grant(tenant, amount=amount, priority=0)


async def grant(tenant: Tenant, **body: Any) -> Any:
    """A grant to u."""
    return await tenant.core.created("/v1/credits/grants", {"end_user_id": "u", **body})


async def adjust(tenant: Tenant, **body: Any) -> Answer:
    """An adjustment of u."""
    return await tenant.core.post("/v1/credits/adjustments", {"end_user_id": "u", "reason": "correction", **body})


async def balance(tenant: Tenant) -> Any:
    """As a check says."""
    answer = await tenant.edge.get("/v1/entitlements/check", end_user_id="u", feature_key=FEATURE)
    assert answer.status == HTTPStatus.OK, answer.body
    return answer.body["balance"]


async def comes_to(tenant: Tenant, amount: float) -> None:
    """Wait until a check says so."""

    async def is_there() -> bool:
        return await balance(tenant) == amount

    await wait_until_async(is_there, 20, f"a balance of {amount}")


def soon(seconds: float) -> str:
    """A moment ahead."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def proved(stack: Stack, tenant: Tenant) -> bool:
    """Whether `verify` finds nothing about the tenant."""
    return not [f for f in (await stack.verify()).findings if f.environment_id == tenant.environment_id]


async def test_a_grant_to_come_is_not_there_before_its_moment(stack: Stack, tenant: Tenant) -> None:
    """It is listed as scheduled, counts for nothing, and is spendable from its moment on."""
    await make_customer(tenant, 10)
    made = await grant(tenant, amount=5, effective_at=soon(3))
    assert (made["state"], made["balance"]) == ("scheduled", 10)
    credit = (await tenant.core.get("/v1/customers/u/credits")).body
    assert [(block["state"], block["remaining"]) for block in credit["blocks"]] == [("granted", 10), ("scheduled", 5)]
    assert (credit["total"], await balance(tenant)) == (10, 10)
    assert await proved(stack, tenant)
    await comes_to(tenant, 15)
    credit = await drained(tenant.core, "u")
    assert [block["state"] for block in credit["blocks"]] == ["granted", "granted"]
    assert await proved(stack, tenant)


async def test_a_grant_to_come_can_be_voided(stack: Stack, tenant: Tenant) -> None:
    """Then it never comes."""
    await make_customer(tenant, 10)
    made = await grant(tenant, amount=5, effective_at=soon(3600))
    done = await tenant.core.post(
        "/v1/credits/voids", {"credit_block_id": made["credit_block_id"], "reason": "changed our mind"}
    )
    assert (done.status, done.body["lines"], done.body["total_after"]) == (HTTPStatus.CREATED, [], 10)
    credit = await drained(tenant.core, "u")
    assert [block["state"] for block in credit["blocks"]] == ["granted"]
    assert await proved(stack, tenant)


async def test_a_cap_bounds_what_a_source_holds(stack: Stack, tenant: Tenant) -> None:
    """As much is granted as fits, and the entry says so."""
    await make_customer(tenant, 10)
    await grant(tenant, amount=8, accumulation_cap=12)
    await comes_to(tenant, 12)
    await grant(tenant, amount=8, accumulation_cap=12)

    async def are_posted() -> list[str] | None:
        entries = (await tenant.core.get("/v1/customers/u/ledger")).body["data"]
        reasons = [entry["reason"] for entry in entries]
        return reasons if len(reasons) == 3 else None

    reasons = await wait_until_async(are_posted, 20, "both grants to be posted")
    assert reasons == ["0 of 8 fit under the cap", "2 of 8 fit under the cap", None]
    assert await balance(tenant) == 12
    assert await proved(stack, tenant)


async def test_unused_credit_rolls_over(stack: Stack, tenant: Tenant) -> None:
    """Half of it, in a block of its own; the rest expires."""
    await make_customer(tenant, 10)
    rollover = {"percent": 50, "expires_at": soon(3600)}
    await grant(tenant, amount=9, priority=200, expires_at=soon(2), rollover=rollover)
    assert await balance(tenant) == 19
    await comes_to(tenant, 14.5)
    credit = await drained(tenant.core, "u")
    assert [(block["source"], block["remaining"]) for block in credit["blocks"]] == [("promo", 10), ("rollover", 4.5)]
    assert await proved(stack, tenant)


async def test_an_adjustment_can_take(stack: Stack, tenant: Tenant) -> None:
    """What is there; more only if debt is allowed. Under one key it takes once."""
    await make_customer(tenant, 10)
    taken = await adjust(tenant, amount=-4)
    assert (taken.status, taken.body["amount"], taken.body["balance"]) == (HTTPStatus.CREATED, -4, 6)
    assert await balance(tenant) == 6
    refused = await adjust(tenant, amount=-7)
    assert (refused.status, refused.body["code"]) == (HTTPStatus.PAYMENT_REQUIRED, "insufficient_credits")
    assert refused.body["context"] == {"available": 6}
    assert await balance(tenant) == 6
    body = {"end_user_id": "u", "reason": "chargeback", "amount": -7, "allow_debt": True}
    answers = [await tenant.core.post("/v1/credits/adjustments", body, Idempotency_Key="once") for _ in range(2)]
    assert [(answer.status, answer.body["balance"]) for answer in answers] == [(HTTPStatus.CREATED, -1)] * 2
    assert await balance(tenant) == -1
    unknown = await tenant.core.post("/v1/credits/adjustments", body | {"end_user_id": "nobody"})
    assert (unknown.status, unknown.body["code"]) == (HTTPStatus.NOT_FOUND, "unknown_customer")
    assert await proved(stack, tenant)


async def test_billed_overage_is_not_paid_again(stack: Stack, tenant: Tenant) -> None:
    """What is on an invoice is closed; the next credit is whole; nothing is left to bill."""
    await make_customer(tenant, 10)
    usage = {"end_user_id": "u", "feature_key": FEATURE, "units": 14, "idempotency_key": "over"}
    assert (await tenant.edge.post("/v1/usage", usage)).body["overage"] == 4
    await drained(tenant.core, "u")
    body = {"end_user_id": "u", "reason": "invoice 7"}
    would = await tenant.core.post("/v1/credits/overage-billings", body | {"dry_run": True})
    assert (would.status, would.body["total_before"], would.body["total_after"]) == (HTTPStatus.OK, -4, 0)
    done = await tenant.core.post("/v1/credits/overage-billings", body)
    assert (done.status, done.body["kind"], done.body["total_after"]) == (HTTPStatus.CREATED, "overage_billed", 0)
    await grant(tenant, amount=5)
    assert await balance(tenant) == 5
    again = await tenant.core.post("/v1/credits/overage-billings", body)
    assert (again.status, again.body["code"]) == (HTTPStatus.CONFLICT, "nothing_owed")
    assert await proved(stack, tenant)
