"""Correcting what a customer has, upwards."""

from typing import Any

import pytest

from app.wire.codes import Code
from tests.app.core import Core, Tenant
from tests.app.ledger.state import assert_proved, state
from tests.app.schema.catalogue import connected
from tests.app.web.test_problems import assert_problem
from tests.conftest import DatabaseUrls

ADJUSTMENTS = "/v1/credits/adjustments"
BODY = {"end_user_id": "u", "amount": 2.5, "reason": "outage of 3 May"}


@pytest.fixture(autouse=True)
async def customer(tenant: Tenant) -> None:
    """The customer who is owed something."""
    await tenant.sandbox.made("/v1/customers", {"end_user_id": "u"})


async def test_an_adjustment_is_a_block_with_a_reason(core: Core, tenant: Tenant, urls: DatabaseUrls) -> None:
    """Of kind and source `adjustment`, free, in the place that was asked for; the edge knows of it at once."""
    expires = "2099-01-01T00:00:00Z"
    made = await tenant.sandbox.made(ADJUSTMENTS, BODY | {"priority": 7, "expires_at": expires})
    assert (made["amount"], made["balance"], made["reason"]) == (2.5, 2.5, "outage of 3 May")
    [block] = (await tenant.sandbox.read("/v1/customers/u/credits"))["blocks"]
    assert block["credit_block_id"] == made["credit_block_id"]
    assert (block["source"], block["paid"], block["priority"], block["expires_at"]) == ("adjustment", False, 7, expires)
    [row] = (await tenant.sandbox.read("/v1/customers/u/ledger"))["data"]
    assert (row["transaction_id"], row["kind"], row["reason"]) == (made["transaction_id"], "adjustment", made["reason"])
    assert [line["account"].partition(":")[0] for line in row["lines"]] == ["block", "issued"]
    view = await core.parts.redis.read_account(tenant.environment_id, "u")
    assert view is not None
    assert view.available_micro == 2_500_000
    await assert_proved(core, urls)


@pytest.mark.usefixtures("flusher")
async def test_debt_is_paid_with_what_is_posted_next(tenant: Tenant) -> None:
    """Until then it stands beside the credit; what the customer has is right before and after."""
    await tenant.sandbox.made(ADJUSTMENTS, BODY | {"amount": -10, "allow_debt": True})
    for amount, seen in ((15, (5, 10, 15)), (-1, (4, 0, 4))):
        await tenant.sandbox.made(ADJUSTMENTS, BODY | {"amount": amount})
        credit = await tenant.sandbox.read("/v1/customers/u/credits")
        assert (credit["total"], credit["debt"], sum(block["remaining"] for block in credit["blocks"])) == seen


async def test_word_of_it_is_left(tenant: Tenant, urls: DatabaseUrls) -> None:
    """One event, by its own name, with the reason."""
    await tenant.sandbox.made(ADJUSTMENTS, BODY)
    async with connected(urls.owner) as connection:
        rows = await connection.fetch("SELECT type, data ->> 'reason' AS reason FROM outbox ORDER BY id")
    assert [tuple(row) for row in rows] == [("customer.created", None), ("credits.adjusted", BODY["reason"])]


async def test_a_key_adjusts_once(tenant: Tenant) -> None:
    """The same answer, byte for byte; another body under the key is refused by name."""
    first = await tenant.sandbox.post(ADJUSTMENTS, BODY, key="k")
    again = await tenant.sandbox.post(ADJUSTMENTS, BODY, key="k")
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    before = await state(tenant)
    other = await tenant.sandbox.post(ADJUSTMENTS, BODY | {"reason": "another"}, key="k")
    assert assert_problem(other, Code.IDEMPOTENCY_KEY_REUSED)["mismatch"] == ["reason"]
    assert await state(tenant) == before
    assert before[0]["balance"] == 2.5


REFUSED: list[tuple[dict[str, Any], Code, str | None]] = [
    ({"amount": -1, "expires_at": "2099-01-01T00:00:00Z"}, Code.INVALID_VALUE, "expires_at"),
    ({"amount": -1_000_000_001}, Code.INVALID_VALUE, "amount"),
    ({"amount": 0}, Code.INVALID_VALUE, "amount"),
    ({"amount": 0.0000001}, Code.INVALID_VALUE, "amount"),
    ({"amount": 9_007_199_255}, Code.INVALID_VALUE, "amount"),
    ({"reason": None}, Code.INVALID_BODY, "reason"),
    ({"reason": ""}, Code.INVALID_VALUE, "reason"),
    ({"reason": "x" * 501}, Code.INVALID_VALUE, "reason"),
    ({"expires_at": "2020-01-01T00:00:00Z"}, Code.INVALID_VALUE, "expires_at"),
    ({"expires_at": "2255-12-31T00:00:00Z"}, Code.INVALID_VALUE, "expires_at"),
    ({"priority": 1001}, Code.INVALID_VALUE, "priority"),
    ({"end_user_id": "v"}, Code.UNKNOWN_CUSTOMER, None),
    ({"source": "promo"}, Code.UNKNOWN_FIELD, "source"),
]


async def test_adjustments_that_cannot_be(tenant: Tenant) -> None:
    """Each is refused by name, and nothing changes."""
    await tenant.sandbox.made(ADJUSTMENTS, BODY)
    before = await state(tenant)
    for change, code, field in REFUSED:
        assert_problem(await tenant.sandbox.post(ADJUSTMENTS, BODY | change), code, field)
        assert await state(tenant) == before, change


async def test_a_reason_is_required(tenant: Tenant) -> None:
    """Whoever looks later has to find one."""
    body = {name: value for name, value in BODY.items() if name != "reason"}
    assert_problem(await tenant.sandbox.post(ADJUSTMENTS, body), Code.INVALID_BODY, "reason")
