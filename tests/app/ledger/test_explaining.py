"""Where an amount would come from, asked over HTTP."""

from datetime import UTC, datetime
from typing import Any

import pytest

from app.wire import keys
from app.wire.codes import Code
from tests.app.core import PARTITIONS, Core, Tenant
from tests.app.ledger.state import state
from tests.app.schema.catalogue import connected
from tests.app.web.test_problems import assert_problem
from tests.conftest import DatabaseUrls

EXPLAIN = "/v1/customers/u/credits/explain"
FAR = "2099-01-01T00:00:00Z"


@pytest.fixture(autouse=True)
async def customer(tenant: Tenant) -> None:
    """A customer with blocks that differ in every criterion."""
    await tenant.sandbox.made("/v1/customers", {"end_user_id": "u"})
    grants: list[dict[str, Any]] = [
        {"amount": 5, "priority": 900},
        {"amount": 4, "source": "topup", "expires_at": FAR},
        {"amount": 3, "expires_at": FAR},
        {"amount": 2, "expires_at": FAR},
        {"amount": 1.25, "priority": 1},
    ]
    for grant in grants:
        await tenant.sandbox.made("/v1/credits/grants", {"end_user_id": "u", **grant})


async def accept(core: Core, tenant: Tenant, cost_micro: int) -> None:
    """The edge has taken usage in that is not posted yet."""
    ref = keys.account_ref(keys.environment_ref(tenant.environment_id), "u")
    account = keys.account(keys.partition_of(ref, PARTITIONS), ref)
    await core.parts.redis.client.hincrby(account, "accepted", cost_micro)


def told(body: Any) -> list[tuple[Any, ...]]:
    """What is said of each block."""
    names = ("remaining", "spoken_for", "drawn", "outcome", "behind_by")
    return [tuple(step[name] for name in names) for step in body["steps"]]


async def test_every_block_has_its_reason(tenant: Tenant) -> None:
    """In the order of spending, with the criterion that put it there; nothing is spent by asking."""
    before = await state(tenant)
    body = await tenant.sandbox.read(EXPLAIN, amount="7.5")
    assert told(body) == [
        (1.25, 0, 1.25, "drawn_whole", None),
        (3, 0, 3, "drawn_whole", "priority"),
        (2, 0, 2, "drawn_whole", "granted_at"),
        (4, 0, 1.25, "drawn_in_part", "free_before_paid"),
        (5, 0, 0, "not_needed", "priority"),
    ]
    assert (body["amount"], body["balance"], body["total"], body["pending"], body["shortfall"]) == (
        *(7.5, 15.25, 15.25),
        *(0, 0),
    )
    blocks = (await tenant.sandbox.read("/v1/customers/u/credits"))["blocks"]
    assert [step["credit_block_id"] for step in body["steps"]] == [block["credit_block_id"] for block in blocks]
    assert body["as_of"].endswith("Z")
    assert await state(tenant) == before


async def test_amounts_are_exact(tenant: Tenant) -> None:
    """As JSON numbers with no more digits than they need."""
    content = (await tenant.sandbox.get(EXPLAIN, amount="1.250001")).content
    assert b'"amount":1.250001' in content
    assert b'"drawn":0.000001' in content


async def test_pending_usage_is_drawn_before(core: Core, tenant: Tenant) -> None:
    """It is told, the blocks' remainders are the ledger's, and what it will take is taken first."""
    await accept(core, tenant, 4_000_000)
    body = await tenant.sandbox.read(EXPLAIN, amount=2)
    assert (body["total"], body["pending"], body["balance"]) == (15.25, 4, 11.25)
    assert told(body)[:4] == [
        (1.25, 1.25, 0, "spoken_for", None),
        (3, 2.75, 0.25, "drawn_whole", "priority"),
        (2, 0, 1.75, "drawn_in_part", "granted_at"),
        (4, 0, 0, "not_needed", "free_before_paid"),
    ]


async def test_the_shortfall_is_what_the_balance_does_not_cover(core: Core, tenant: Tenant) -> None:
    """For any amount, with pending usage, and beyond all credit."""
    for cost_micro in (0, 3_000_000, 20_000_000):
        await accept(core, tenant, cost_micro)
        for amount in (0, 1, 15.25, 100):
            body = await tenant.sandbox.read(EXPLAIN, amount=amount)
            assert body["shortfall"] == max(0, amount - max(0, body["balance"])), body
            assert sum(step["drawn"] for step in body["steps"]) + body["shortfall"] == amount


async def test_what_has_run_out_is_not_drawn(tenant: Tenant, urls: DatabaseUrls) -> None:
    """A block whose expiry is due but not posted yet counts in the total and gives nothing."""
    async with connected(urls.owner) as connection:
        await connection.execute(
            "UPDATE credit_blocks SET expires_at = $1 WHERE priority = 1", datetime(2026, 1, 1, tzinfo=UTC)
        )
    body = await tenant.sandbox.read(EXPLAIN, amount=1)
    assert told(body)[:2] == [(1.25, 0, 0, "expired", None), (3, 0, 1, "drawn_in_part", "priority")]


async def test_without_credit_all_is_missing(tenant: Tenant) -> None:
    """No block, no step."""
    await tenant.sandbox.made("/v1/customers", {"end_user_id": "poor"})
    body = await tenant.sandbox.read("/v1/customers/poor/credits/explain", amount=3)
    assert (body["steps"], body["shortfall"], body["balance"]) == ([], 3, 0)


REFUSED: list[tuple[str, Code, str]] = [
    ("", Code.INVALID_BODY, "amount"),
    ("?amount=", Code.INVALID_VALUE, "amount"),
    ("?amount=much", Code.INVALID_VALUE, "amount"),
    ("?amount=-1", Code.INVALID_VALUE, "amount"),
    ("?amount=%2B1", Code.INVALID_VALUE, "amount"),
    ("?amount=1_000", Code.INVALID_VALUE, "amount"),
    ("?amount=%D9%A1", Code.INVALID_VALUE, "amount"),
    ("?amount=01", Code.INVALID_VALUE, "amount"),
    ("?amount=NaN", Code.INVALID_VALUE, "amount"),
    ("?amount=Infinity", Code.INVALID_VALUE, "amount"),
    ("?amount=0.0000001", Code.INVALID_VALUE, "amount"),
    ("?amount=9007199255", Code.INVALID_VALUE, "amount"),
    ("?amount=1e999999999", Code.INVALID_VALUE, "amount"),
    ("?amount=1e99999999999999999999", Code.INVALID_VALUE, "amount"),
    (f"?amount={'1' * 100}", Code.INVALID_VALUE, "amount"),
    ("?amount=1&at=2026-01-01T00:00:00Z", Code.UNKNOWN_FIELD, "at"),
]


async def test_amounts_that_are_none(tenant: Tenant) -> None:
    """Each is refused by name."""
    for query, code, field in REFUSED:
        assert_problem(await tenant.sandbox.get(EXPLAIN + query), code, field)


async def test_of_whom_nobody_knows(tenant: Tenant) -> None:
    """404, in the other environment too."""
    for client in (tenant.sandbox, tenant.live):
        answer = await client.get("/v1/customers/nobody/credits/explain", amount=1)
        assert_problem(answer, Code.UNKNOWN_CUSTOMER)
