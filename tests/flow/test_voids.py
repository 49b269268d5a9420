"""Voids on the running product: what was taken comes back, once, and whoever checks next sees it."""

import asyncio
from http import HTTPStatus
from typing import Any

from tests.flow.stack import Answer, Stack, Tenant, drained, make_catalogue

FEATURE = "api_calls"


async def subscribe(tenant: Tenant, end_user_id: str, amount: int = 100) -> None:
    """A customer with so many credits of a plan."""
    variant = await make_catalogue(tenant.core, amount)
    await tenant.core.created("/v1/subscriptions", {"end_user_id": end_user_id, "plan_variant_id": variant})


async def use(tenant: Tenant, end_user_id: str, units: int, key: str) -> str:
    """A usage event; its id."""
    body = {"end_user_id": end_user_id, "feature_key": FEATURE, "units": units, "idempotency_key": key}
    answer = await tenant.edge.post("/v1/usage", body)
    assert answer.status == HTTPStatus.ACCEPTED, answer.body
    return answer.body["event_id"]


async def balance(tenant: Tenant, end_user_id: str) -> float:
    """As a check says."""
    answer = await tenant.edge.get("/v1/entitlements/check", end_user_id=end_user_id, feature_key=FEATURE)
    assert answer.status == HTTPStatus.OK, answer.body
    return answer.body["balance"]


async def void(tenant: Tenant, key: str | None = None, **body: Any) -> Answer:
    """A void, perhaps under an idempotency key."""
    headers = {} if key is None else {"Idempotency_Key": key}
    return await tenant.core.post("/v1/credits/voids", {"reason": "a mistake", **body}, **headers)


async def test_a_voided_event_comes_back_where_it_came_from(tenant: Tenant) -> None:
    """The block has it again, the balance at once, the ledger as a transaction of its own; verify finds nothing."""
    await subscribe(tenant, "u")
    event_id = await use(tenant, "u", 30, "first")
    await use(tenant, "u", 20, "second")
    await drained(tenant.core, "u")
    path = f"/v1/usage/events/{event_id}/void"
    would = await tenant.core.post(path, {"reason": "wrong model", "dry_run": True})
    assert (would.status, would.body["total_before"], would.body["total_after"]) == (HTTPStatus.OK, 50, 80)
    assert await balance(tenant, "u") == 50
    done = await tenant.core.post(path, {"reason": "wrong model"})
    assert done.status == HTTPStatus.CREATED, done.body
    assert (done.body["kind"], done.body["dry_run"], done.body["total_after"]) == ("void", False, 80)
    assert done.body["lines"] == would.body["lines"]
    assert await balance(tenant, "u") == 80
    credit = await drained(tenant.core, "u")
    assert (credit["total"], [block["remaining"] for block in credit["blocks"]]) == (80, [80])
    [newest, *_] = (await tenant.core.get("/v1/customers/u/ledger")).body["data"]
    assert (newest["kind"], newest["reason"], newest["transaction_id"]) == (
        "void",
        "wrong model",
        done.body["transaction_id"],
    )
    again = await tenant.core.post(path, {"reason": "twice"})
    assert (again.status, again.body["code"]) == (HTTPStatus.CONFLICT, "already_voided")
    of_void = await void(tenant, event_id=done.body["transaction_id"])
    assert (of_void.status, of_void.body["code"]) == (HTTPStatus.CONFLICT, "not_voidable")
    assert await balance(tenant, "u") == 80


async def test_usage_can_be_voided_as_soon_as_it_is_acknowledged(stack: Stack, tenant: Tenant) -> None:
    """Nobody has to wait for it to be posted; it is marked, and counts no more."""
    await subscribe(tenant, "u")
    for number in range(10):
        event_id = await use(tenant, "u", 3, f"k{number}")
        done = await void(tenant, f"v{number}", event_id=event_id)
        assert done.status == HTTPStatus.CREATED, done.body
    assert await balance(tenant, "u") == 100
    events = (await tenant.core.get("/v1/usage/events", end_user_id="u")).body["data"]
    assert [event["voided_at"] is not None for event in events] == [True] * 10
    assert (await tenant.core.get("/v1/usage", end_user_id="u")).body["data"] == []
    one = (await tenant.core.get(f"/v1/usage/events/{events[0]['event_id']}")).body
    assert one["event"]["voided_at"] == events[0]["voided_at"]
    assert [f for f in (await stack.verify()).findings if f.environment_id == tenant.environment_id] == []


async def test_what_is_unknown_is_refused_the_same_way_again(tenant: Tenant) -> None:
    """A 404 is stored beside its key, as everywhere."""
    await subscribe(tenant, "u")
    first, again = [await void(tenant, "k", event_id=f"evt_{'0' * 32}") for _ in range(2)]
    assert (first.status, again.status, again.raw) == (HTTPStatus.NOT_FOUND, HTTPStatus.NOT_FOUND, first.raw)
    assert again.headers["Idempotent-Replayed"] == "true"


async def test_a_voided_grant_is_gone_at_once(stack: Stack, tenant: Tenant) -> None:
    """What is left of it is taken back; where some is spent, only if debt is allowed."""
    await subscribe(tenant, "u")
    grant = await tenant.core.created("/v1/credits/grants", {"end_user_id": "u", "amount": 40, "priority": 1})
    spent = await tenant.core.created("/v1/credits/grants", {"end_user_id": "u", "amount": 10, "priority": 0})
    await use(tenant, "u", 4, "some")
    await drained(tenant.core, "u")
    done = await void(tenant, credit_block_id=grant["credit_block_id"])
    assert (done.status, done.body["total_before"], done.body["total_after"]) == (HTTPStatus.CREATED, 146, 106)
    assert await balance(tenant, "u") == 106
    refused = await void(tenant, credit_block_id=spent["credit_block_id"])
    assert (refused.status, refused.body["code"]) == (HTTPStatus.CONFLICT, "grant_spent")
    assert refused.body["context"] == {"spent": 4}
    assert await balance(tenant, "u") == 106
    forced = await void(tenant, credit_block_id=spent["credit_block_id"], allow_debt=True)
    assert (forced.status, forced.body["total_after"]) == (HTTPStatus.CREATED, 96)
    assert await balance(tenant, "u") == 96
    assert [f for f in (await stack.verify()).findings if f.environment_id == tenant.environment_id] == []


async def test_one_key_is_one_void(tenant: Tenant) -> None:
    """Many at once under one key: one transaction, equal answers; with another target the key is refused."""
    await subscribe(tenant, "u")
    first, second = [await use(tenant, "u", 10, key) for key in ("a", "b")]
    await drained(tenant.core, "u")
    answers = await asyncio.gather(*[void(tenant, "the-same", event_id=first) for _ in range(10)])
    assert {(answer.status, answer.raw) for answer in answers} == {(HTTPStatus.CREATED, answers[0].raw)}
    other = await void(tenant, "the-same", event_id=second)
    assert (other.status, other.body["code"]) == (HTTPStatus.UNPROCESSABLE_ENTITY, "idempotency_key_reused")
    assert await balance(tenant, "u") == 90


async def test_what_cannot_be_voided(tenant: Tenant) -> None:
    """Each with its own code, and nothing changes."""
    await subscribe(tenant, "u")
    unknown = f"evt_{'0' * 32}"
    refusals = [
        ({"event_id": unknown}, 404, "not_found"),
        ({"credit_block_id": f"blk_{'0' * 32}"}, 404, "not_found"),
        ({"event_id": "evt_1"}, 422, "invalid_value"),
        ({}, 422, "invalid_value"),
        ({"event_id": unknown, "credit_block_id": f"blk_{'0' * 32}"}, 422, "invalid_value"),
        ({"event_id": unknown, "reason": ""}, 422, "invalid_value"),
    ]
    for body, status, code in refusals:
        answer = await void(tenant, **body)
        assert (answer.status, answer.body["code"]) == (status, code), body
    assert await balance(tenant, "u") == 100


async def test_usage_beside_voids_never_spends_what_is_gone(stack: Stack, tenant: Tenant) -> None:
    """Enforced usage from many sides while grants are voided: in the end nobody is in debt, and the books agree."""
    await subscribe(tenant, "u", 1)
    grants = [
        await tenant.core.created("/v1/credits/grants", {"end_user_id": "u", "amount": 50, "priority": n})
        for n in range(6)
    ]

    async def spend(number: int) -> int:
        body = {"end_user_id": "u", "feature_key": FEATURE, "units": 7, "idempotency_key": f"k{number}"}
        answer = await tenant.edge.post("/v1/usage", body | {"enforce": True})
        assert answer.status in {HTTPStatus.ACCEPTED, HTTPStatus.PAYMENT_REQUIRED}, answer.body
        return 7 if answer.status == HTTPStatus.ACCEPTED else 0

    async def take_back(grant: Any) -> int:
        answer = await void(tenant, credit_block_id=grant["credit_block_id"])
        if answer.status == HTTPStatus.CONFLICT:
            assert answer.body["code"] == "grant_spent"
            return 0
        assert answer.status == HTTPStatus.CREATED, answer.body
        return 50

    spending = [spend(number) for number in range(60)]
    results = await asyncio.gather(*spending[:30], *[take_back(grant) for grant in grants[::-1]], *spending[30:])
    credit = await drained(tenant.core, "u")
    assert credit["total"] == 301 - sum(results)
    assert credit["debt"] == 0
    assert [f for f in (await stack.verify()).findings if f.environment_id == tenant.environment_id] == []
