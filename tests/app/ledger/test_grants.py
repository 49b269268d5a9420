"""What a grant takes, what it keeps, and each thing that it refuses."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from app.ledger import service
from app.wire.codes import Code
from tests.app.core import Core, Tenant
from tests.app.ledger.state import assert_proved, state
from tests.app.web.test_problems import assert_problem
from tests.conftest import DatabaseUrls

GRANTS = "/v1/credits/grants"
FAR = "2099-01-01T00:00:00Z"


@pytest.fixture(autouse=True)
async def customer(tenant: Tenant) -> None:
    """The customer that grants go to, with one credit."""
    await tenant.sandbox.made("/v1/customers", {"end_user_id": "u"})
    await tenant.sandbox.made(GRANTS, {"end_user_id": "u", "amount": 1})


async def test_a_grant_keeps_what_is_said_of_it(core: Core, tenant: Tenant, urls: DatabaseUrls) -> None:
    """With the block, in the answer and in every list; the reason stands in the ledger."""
    said = {
        "reason": "goodwill",
        "metadata": {"ticket": "T-1", "share": 0.1, "nested": [None, {"a": "ü\u0000"}]},
        "price_paid": 1999,
        "currency": "EUR",
        "external_reference": "in_1",
    }
    made = await tenant.sandbox.made(GRANTS, {"end_user_id": "u", "amount": 2, **said})
    assert {name: made[name] for name in said} == said
    blocks = (await tenant.sandbox.read("/v1/customers/u/credits"))["blocks"]
    kept = next(block for block in blocks if block["credit_block_id"] == made["credit_block_id"])
    assert {name: kept[name] for name in said if name != "reason"} == {n: v for n, v in said.items() if n != "reason"}
    assert kept["paid"] is made["paid"] is True
    assert (await tenant.sandbox.read("/v1/customers/u/ledger"))["data"][0]["reason"] == "goodwill"
    plain = blocks[0]
    assert [plain[name] for name in said if name != "reason"] == [None] * 4
    assert plain["paid"] is False
    await assert_proved(core, urls)


async def test_numbers_in_metadata_stay_what_they_were(tenant: Tenant) -> None:
    """Byte for byte: neither rounded nor reordered, however large, in the stored answer and in the list."""
    content = b'{"end_user_id":"u","amount":1,"metadata":{"z":0.10,"a":123456789012345678901234567890.5,"n":1e400}}'
    for _ in range(2):
        answer = await tenant.sandbox.send("POST", GRANTS, content=content, headers={"idempotency-key": "k"})
        assert b'"z":0.10,"a":123456789012345678901234567890.5,"n":1E+400' in answer.content
    listed = (await tenant.sandbox.get("/v1/customers/u/credits")).content
    assert b'"z":0.10,"a":123456789012345678901234567890.5,"n":1E+400' in listed


async def test_a_price_makes_it_paid(tenant: Tenant) -> None:
    """Paid blocks are spent after free ones: those of top-ups, and those that cost something."""
    for change, paid in (
        ({}, False),
        ({"source": "topup"}, True),
        ({"price_paid": 0, "currency": "EUR"}, False),
        ({"price_paid": 1, "currency": "JPY"}, True),
    ):
        assert (await tenant.sandbox.made(GRANTS, {"end_user_id": "u", "amount": 1, **change}))["paid"] is paid


async def test_it_may_have_begun_before(tenant: Tenant) -> None:
    """A moment that has passed is kept as it was sent, in UTC; it does not change what was drawn before."""
    body = {"end_user_id": "u", "amount": 1, "effective_at": "2026-01-01T01:00:00+01:00"}
    made = await tenant.sandbox.made(GRANTS, body)
    assert datetime.fromisoformat(made["effective_at"]) == datetime(2026, 1, 1, tzinfo=UTC)
    assert made["balance"] == 2
    blocks = (await tenant.sandbox.read("/v1/customers/u/credits"))["blocks"]
    assert "2026-01-01T00:00:00Z" in [block["effective_at"] for block in blocks]


def _in(delta: timedelta) -> str:
    return (datetime.now(UTC) + delta).isoformat()


REFUSED: list[tuple[dict[str, Any], Code, str | None]] = [
    ({"amount": 0}, Code.INVALID_VALUE, "amount"),
    ({"amount": -1}, Code.INVALID_VALUE, "amount"),
    ({"amount": 0.0000001}, Code.INVALID_VALUE, "amount"),
    ({"amount": 1.0000001}, Code.INVALID_VALUE, "amount"),
    ({"amount": "1"}, Code.INVALID_BODY, "amount"),
    ({"amount": 9_007_199_255}, Code.INVALID_VALUE, "amount"),
    ({"amount": 9_007_199_254}, Code.BALANCE_OUT_OF_RANGE, None),
    ({"expires_at": "2020-01-01T00:00:00Z"}, Code.INVALID_VALUE, "expires_at"),
    ({"expires_at": "0001-01-01T00:00:00+23:59"}, Code.INVALID_VALUE, "expires_at"),
    ({"expires_at": "2255-12-31T00:00:00Z"}, Code.INVALID_VALUE, "expires_at"),
    ({"expires_at": "9999-12-31T23:59:59-23:59"}, Code.INVALID_VALUE, "expires_at"),
    ({"expires_at": "2099-01-01T00:00:00"}, Code.INVALID_VALUE, "expires_at"),
    ({"expires_at": 1}, Code.INVALID_BODY, "expires_at"),
    ({"expires_at": FAR, "effective_at": FAR}, Code.INVALID_VALUE, "expires_at"),
    ({"expires_at": FAR, "effective_at": "2100-01-01T00:00:00Z"}, Code.INVALID_VALUE, "expires_at"),
    ({"accumulation_cap": 0}, Code.INVALID_VALUE, "accumulation_cap"),
    ({"rollover": {"percent": 50, "expires_at": FAR}}, Code.INVALID_VALUE, "rollover"),
    ({"expires_at": FAR, "rollover": {"percent": 50, "expires_at": FAR}}, Code.INVALID_VALUE, "rollover.expires_at"),
    ({"expires_at": FAR, "rollover": {"percent": 0, "expires_at": FAR}}, Code.INVALID_VALUE, "rollover.percent"),
    ({"expires_at": FAR, "rollover": {"percent": 101, "expires_at": FAR}}, Code.INVALID_VALUE, "rollover.percent"),
    ({"effective_at": "9999-12-31T23:59:59-23:59"}, Code.INVALID_VALUE, "effective_at"),
    ({"effective_at": "0001-01-01T00:00:00+23:59"}, Code.INVALID_VALUE, "effective_at"),
    ({"effective_at": "2026-01-01T00:00:00"}, Code.INVALID_VALUE, "effective_at"),
    ({"source": "plan"}, Code.INVALID_VALUE, "source"),
    ({"priority": -1}, Code.INVALID_VALUE, "priority"),
    ({"priority": 1001}, Code.INVALID_VALUE, "priority"),
    ({"priority": 1.5}, Code.INVALID_BODY, "priority"),
    ({"end_user_id": "v"}, Code.UNKNOWN_CUSTOMER, None),
    ({"reason": ""}, Code.INVALID_VALUE, "reason"),
    ({"reason": "x" * 501}, Code.INVALID_VALUE, "reason"),
    ({"reason": "a\u0000b"}, Code.INVALID_VALUE, "reason"),
    ({"metadata": []}, Code.INVALID_BODY, "metadata"),
    ({"metadata": {"a": "x" * 4096}}, Code.INVALID_VALUE, "metadata"),
    ({"price_paid": 1}, Code.INVALID_VALUE, "currency"),
    ({"currency": "EUR"}, Code.INVALID_VALUE, "price_paid"),
    ({"price_paid": -1, "currency": "EUR"}, Code.INVALID_VALUE, "price_paid"),
    ({"price_paid": 10**15 + 1, "currency": "EUR"}, Code.INVALID_VALUE, "price_paid"),
    ({"price_paid": 1.5, "currency": "EUR"}, Code.INVALID_BODY, "price_paid"),
    ({"price_paid": 1, "currency": "eur"}, Code.INVALID_VALUE, "currency"),
    ({"price_paid": 1, "currency": "EURO"}, Code.INVALID_VALUE, "currency"),
    ({"price_paid": 1, "currency": "EUR\n"}, Code.INVALID_VALUE, "currency"),
    ({"external_reference": ""}, Code.INVALID_VALUE, "external_reference"),
    ({"external_reference": "x" * 256}, Code.INVALID_VALUE, "external_reference"),
    ({"amuont": 1}, Code.UNKNOWN_FIELD, "amuont"),
]


async def test_grants_that_cannot_be(tenant: Tenant) -> None:
    """Each is refused by name, and ledger and balance stay; under a key too."""
    before = await state(tenant)
    for change, code, field in REFUSED:
        for key in (None, "k"):
            answer = await tenant.sandbox.post(GRANTS, {"end_user_id": "u", "amount": 1} | change, key)
            assert_problem(answer, code, field)
            if code is Code.UNKNOWN_CUSTOMER:
                break  # it would be stored under the key
        assert await state(tenant) == before, change


async def test_an_account_holds_so_many_blocks(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is refused, whatever makes it, and nothing changes."""
    monkeypatch.setattr(service, "MAX_LIVE_BLOCKS", 2)
    await tenant.sandbox.made(GRANTS, {"end_user_id": "u", "amount": 1})
    before = await state(tenant)
    bought = {"credits": 1, "price_paid": 1, "currency": "EUR", "payment_reference": "p"}
    for path, body in (
        (GRANTS, {"amount": 1}),
        ("/v1/credits/adjustments", {"amount": 1, "reason": "r"}),
        ("/v1/topups", bought),
    ):
        assert_problem(await tenant.sandbox.post(path, {"end_user_id": "u", **body}), Code.TOO_MANY_BLOCKS)
    assert await state(tenant) == before


async def test_metadata_of_the_greatest_size(tenant: Tenant) -> None:
    """4096 bytes of JSON, as it would be written without spaces."""
    metadata = {"a": "x" * (4096 - len(msgspec.json.encode({"a": ""})))}
    body = {"end_user_id": "u", "amount": 1, "metadata": metadata}
    assert (await tenant.sandbox.made(GRANTS, body))["metadata"] == metadata
