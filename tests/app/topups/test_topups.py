"""Payments that become credit: each once, for ever."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from redis.exceptions import ConnectionError as ConnectionRedisError

from app.topups import store
from app.wire.codes import Code
from tests.app.core import Core, Tenant
from tests.app.ledger.state import assert_proved, state
from tests.app.schema.catalogue import connected
from tests.app.topups.test_packages import PACKAGE, PACKAGES, change
from tests.app.web.test_problems import assert_problem
from tests.conftest import DatabaseUrls

TOPUPS = "/v1/topups"
BOUGHT = {"end_user_id": "u", "payment_reference": "pi_1", "package_key": "small"}
CREDITS = {"end_user_id": "u", "payment_reference": "pi_1", "credits": 100.5, "price_paid": 999, "currency": "EUR"}


@pytest.fixture(autouse=True)
async def customers(tenant: Tenant) -> None:
    """Two customers and a package."""
    for name in ("u", "v"):
        await tenant.sandbox.made("/v1/customers", {"end_user_id": name})
    await tenant.sandbox.made(PACKAGES, PACKAGE | {"priority": 7, "expires_after_days": 30})


@pytest.mark.parametrize("amount", [0, -1, 10**12, -(10**12)])
async def test_how_many_credits_there_may_be(tenant: Tenant, amount: int) -> None:
    """In whatever is added: more than none, whatever side it was missed on."""
    grant = {"amount": amount, "interval": "month"}
    cases: list[tuple[str, str, Any]] = [
        (TOPUPS, "credits", CREDITS | {"credits": amount}),
        (PACKAGES, "credits", PACKAGE | {"key": "p", "credits": amount}),
        ("/v1/credits/grants", "amount", {"end_user_id": "u", "amount": amount}),
        ("/v1/credits/grants", "accumulation_cap", {"end_user_id": "u", "amount": 1, "accumulation_cap": amount}),
        ("/v1/plans/p/variants", "grants[0].amount", {"key": "m", "interval": "month", "grants": [grant]}),
    ]
    for path, field, body in cases:
        problem = assert_problem(await tenant.sandbox.post(path, body), Code.INVALID_VALUE, field)
        assert problem["errors"][0]["message"] == "must be above 0, and at most 9007199254.740991"


async def refuse(*_: object, **__: object) -> None:
    """Redis is away."""
    raise ConnectionRedisError


async def balance(tenant: Tenant, end_user_id: str = "u") -> Any:
    """What a customer has."""
    return (await tenant.sandbox.read(f"/v1/customers/{end_user_id}/credits"))["balance"]


async def test_a_package_becomes_a_paid_block(core: Core, tenant: Tenant, urls: DatabaseUrls) -> None:
    """With the package's terms, its price and the payment's reference; the edge knows of it at once."""
    made = await tenant.sandbox.made(TOPUPS, BOUGHT)
    assert made["topup_id"].startswith("top_")
    assert {name: made[name] for name in BOUGHT | CREDITS} == CREDITS | BOUGHT
    expires_at, created_at = (datetime.fromisoformat(made[name]) for name in ("expires_at", "created_at"))
    assert expires_at - created_at == timedelta(days=30)
    [block] = (await tenant.sandbox.read("/v1/customers/u/credits"))["blocks"]
    assert block["credit_block_id"] == made["credit_block_id"]
    assert (block["source"], block["paid"], block["priority"]) == ("topup", True, 7)
    assert (block["price_paid"], block["currency"], block["external_reference"]) == (999, "EUR", "pi_1")
    assert block["expires_at"] == made["expires_at"]
    [row] = (await tenant.sandbox.read("/v1/customers/u/ledger"))["data"]
    assert (row["kind"], row["reason"]) == ("grant", made["topup_id"])
    view = await core.parts.redis.read_account(tenant.environment_id, "u")
    assert view is not None
    assert view.available_micro == 100_500_000
    await assert_proved(core, urls)


async def test_credits_without_a_package(tenant: Tenant) -> None:
    """At the price that is sent; they do not expire."""
    made = await tenant.sandbox.made(TOPUPS, CREDITS)
    assert (made["package_key"], made["credits"], made["expires_at"], made["priority"]) == (None, 100.5, None, 100)
    assert await balance(tenant) == 100.5


async def test_a_package_at_another_price(tenant: Tenant) -> None:
    """What was really paid is kept: a discount, another currency."""
    made = await tenant.sandbox.made(TOPUPS, BOUGHT | {"price_paid": 500, "currency": "USD"})
    assert (made["credits"], made["price_paid"], made["currency"]) == (100.5, 500, "USD")


async def test_a_reference_grants_once(tenant: Tenant) -> None:
    """Under the same key, another, or none, with the price said or not: the same answer, byte for byte."""
    first = await tenant.sandbox.post(TOPUPS, BOUGHT, key="a")
    assert first.status_code == 201
    assert "idempotent-replayed" not in first.headers
    before = await state(tenant)
    said = BOUGHT | {"price_paid": 999, "currency": "EUR"}
    for body, key in ((BOUGHT, "a"), (BOUGHT, "b"), (BOUGHT, "b"), (BOUGHT, None), (said, None), (said, "c")):
        again = await tenant.sandbox.post(TOPUPS, body, key=key)
        assert (again.status_code, again.content) == (201, first.content)
        assert again.headers["idempotent-replayed"] == "true"
    assert await state(tenant) == before
    assert before[0]["balance"] == 100.5


async def test_a_repeat_makes_up_for_what_was_not_published(
    core: Core, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis was away when the payment was posted; whoever gets its answer again may rely on the edge knowing it."""
    with monkeypatch.context() as patched:
        patched.setattr(core.parts.redis.client.connection_pool, "get_connection", refuse)
        first = await tenant.sandbox.post(TOPUPS, BOUGHT, key="a")
        assert first.status_code == 201
    available = []
    for _ in range(2):
        view = await core.parts.redis.read_account(tenant.environment_id, "u")
        assert view is not None
        available.append(view.available_micro)
        assert (await tenant.sandbox.post(TOPUPS, BOUGHT, key="b")).content == first.content
    assert available == [0, 100_500_000]


async def test_it_stays_once_when_the_package_is_gone(tenant: Tenant) -> None:
    """The payment was made while the package was sold, and its answer does not depend on today."""
    first = await tenant.sandbox.post(TOPUPS, BOUGHT)
    await change(tenant.sandbox, "small", {"active": False})
    again = await tenant.sandbox.post(TOPUPS, BOUGHT, key="later")
    assert (again.status_code, again.content) == (201, first.content)
    assert_problem(await tenant.sandbox.post(TOPUPS, BOUGHT | {"payment_reference": "pi_2"}), Code.PACKAGE_INACTIVE)
    assert await balance(tenant) == 100.5


DIFFERENT: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    # the first top-up, the second, what differs
    (BOUGHT, BOUGHT | {"end_user_id": "v"}, ["end_user_id"]),
    (BOUGHT, BOUGHT | {"end_user_id": "nobody"}, ["end_user_id"]),
    (BOUGHT, BOUGHT | {"package_key": "none"}, ["package_key"]),
    (BOUGHT, BOUGHT | {"price_paid": 998, "currency": "EUR"}, ["price_paid"]),
    (BOUGHT, BOUGHT | {"price_paid": 999, "currency": "USD"}, ["currency"]),
    (BOUGHT, CREDITS, ["package_key"]),
    (BOUGHT, CREDITS | {"credits": 1, "price_paid": 1}, ["credits", "package_key", "price_paid"]),
    (BOUGHT | {"price_paid": 500, "currency": "USD"}, BOUGHT, ["currency", "price_paid"]),
    (CREDITS, CREDITS | {"credits": 100.500001}, ["credits"]),
    (CREDITS, CREDITS | {"price_paid": 998}, ["price_paid"]),
    (CREDITS, CREDITS | {"currency": "JPY"}, ["currency"]),
    (CREDITS, BOUGHT, ["package_key"]),
]


async def test_another_top_up_with_the_reference_is_refused(tenant: Tenant) -> None:
    """What differs is named, the top-up that exists is shown, and nothing changes, under whatever key."""
    for number, (first, second, mismatch) in enumerate(DIFFERENT):
        reference = {"payment_reference": f"pi_{number}"}
        made = await tenant.sandbox.made(TOPUPS, first | reference)
        before = await state(tenant)
        for key in (None, f"key-{number}", f"other-key-{number}"):
            answer = await tenant.sandbox.post(TOPUPS, second | reference, key=key)
            problem = assert_problem(answer, Code.PAYMENT_REFERENCE_USED)
            assert problem["mismatch"] == mismatch, (first, second)
            assert f"with another value of `{mismatch[0]}`" in problem["detail"]
            assert problem["context"] == {"topup": made}
        assert await state(tenant) == before
    assert await balance(tenant, "v") == 0


async def test_a_hundred_twins_grant_once(tenant: Tenant) -> None:
    """At once, each under a key of its own or under none: one grant, a hundred equal answers."""
    keys = [None if number % 2 else f"key-{number}" for number in range(100)]
    answers = await asyncio.gather(*(tenant.sandbox.post(TOPUPS, BOUGHT, key=key) for key in keys))
    assert {(answer.status_code, answer.content) for answer in answers} == {(201, answers[0].content)}
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert await balance(tenant) == 100.5


async def test_twins_for_two_customers_grant_one(core: Core, tenant: Tenant, urls: DatabaseUrls) -> None:
    """Whoever comes first; the other hears whose it is."""
    bodies = [BOUGHT | {"end_user_id": name} for name in ("u", "v")] * 5
    answers = await asyncio.gather(*(tenant.sandbox.post(TOPUPS, body) for body in bodies))
    won = {answer.json()["end_user_id"] for answer in answers if answer.status_code == 201}
    lost = [answer for answer in answers if answer.status_code != 201]
    assert len(won) == 1
    assert len(lost) == 5
    for answer in lost:
        problem = assert_problem(answer, Code.PAYMENT_REFERENCE_USED)
        assert {problem["context"]["topup"]["end_user_id"]} == won
    assert await balance(tenant, "u") + await balance(tenant, "v") == 100.5
    await assert_proved(core, urls)


async def test_the_table_itself_takes_a_reference_once(
    tenant: Tenant, urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the code does: without lock and look a second top-up fails, and no credit stays of it."""
    await tenant.sandbox.made(TOPUPS, BOUGHT)
    before = await state(tenant)

    async def nothing(*_: object) -> None:
        return None

    with monkeypatch.context() as patched:
        patched.setattr(store, "lock_payment_reference", nothing)
        patched.setattr(store, "read_topup", nothing)
        assert_problem(await tenant.sandbox.post(TOPUPS, BOUGHT, key="k"), Code.INTERNAL_ERROR)
    assert await state(tenant) == before
    assert (await tenant.sandbox.post(TOPUPS, BOUGHT, key="k")).headers["idempotent-replayed"] == "true"
    async with connected(urls.of("quotastack_core"), tenant.environment_id) as connection:
        for statement in ("UPDATE topups SET payment_reference = 'x'", "DELETE FROM topups"):
            with pytest.raises(Exception, match="permission denied"):
                await connection.execute(statement)


async def test_a_reference_counts_for_its_environment(core: Core, tenant: Tenant) -> None:
    """Sandbox and live, and other tenants, have payments of their own."""
    stranger = await core.tenant("stranger")
    for client in (tenant.sandbox, tenant.live, stranger.sandbox):
        if client is not tenant.sandbox:
            await client.made("/v1/customers", {"end_user_id": "u"})
        answer = await client.post(TOPUPS, CREDITS, key="k")
        assert answer.status_code == 201
        assert "idempotent-replayed" not in answer.headers
        assert len((await client.read(TOPUPS))["data"]) == 1


REFUSED: list[tuple[dict[str, Any], Code, str | None]] = [
    (BOUGHT | {"end_user_id": "nobody"}, Code.UNKNOWN_CUSTOMER, None),
    (BOUGHT | {"package_key": "none"}, Code.UNKNOWN_PACKAGE, None),
    (BOUGHT | {"package_key": "off"}, Code.PACKAGE_INACTIVE, None),
    (BOUGHT | {"package_key": "Small"}, Code.INVALID_VALUE, "package_key"),
    (BOUGHT | {"package_key": None}, Code.INVALID_VALUE, "package_key"),
    (BOUGHT | {"credits": 1}, Code.INVALID_VALUE, "package_key"),
    (BOUGHT | {"price_paid": 1}, Code.INVALID_VALUE, "currency"),
    (BOUGHT | {"currency": "EUR"}, Code.INVALID_VALUE, "price_paid"),
    (BOUGHT | {"payment_reference": ""}, Code.INVALID_VALUE, "payment_reference"),
    (BOUGHT | {"payment_reference": "x" * 256}, Code.INVALID_VALUE, "payment_reference"),
    (BOUGHT | {"payment_reference": "a\u0000"}, Code.INVALID_VALUE, "payment_reference"),
    (BOUGHT | {"payment_reference": None}, Code.INVALID_BODY, "payment_reference"),
    (BOUGHT | {"priority": 1}, Code.UNKNOWN_FIELD, "priority"),
    (CREDITS | {"credits": 0}, Code.INVALID_VALUE, "credits"),
    (CREDITS | {"credits": -1}, Code.INVALID_VALUE, "credits"),
    (CREDITS | {"credits": 0.0000001}, Code.INVALID_VALUE, "credits"),
    (CREDITS | {"credits": 9_007_199_255}, Code.INVALID_VALUE, "credits"),
    (CREDITS | {"credits": 9_007_199_254.7}, Code.BALANCE_OUT_OF_RANGE, None),
    (CREDITS | {"price_paid": None, "currency": None}, Code.INVALID_VALUE, "price_paid"),
    (CREDITS | {"price_paid": -1}, Code.INVALID_VALUE, "price_paid"),
    (CREDITS | {"currency": "euro"}, Code.INVALID_VALUE, "currency"),
]


async def test_top_ups_that_cannot_be(tenant: Tenant) -> None:
    """Each is refused by name, nothing changes, and the reference can still be used."""
    await tenant.sandbox.made(PACKAGES, PACKAGE | {"key": "off", "active": False})
    await tenant.sandbox.made("/v1/credits/grants", {"end_user_id": "u", "amount": 1})
    before = await state(tenant)
    for number, (body, code, field) in enumerate(REFUSED):
        for key in (None, f"key-{number}"):
            assert_problem(await tenant.sandbox.post(TOPUPS, body, key=key), code, field)
        assert await state(tenant) == before, body
    await tenant.sandbox.made(TOPUPS, BOUGHT)


async def test_listing(tenant: Tenant) -> None:
    """Newest first, page by page, of one customer or of all."""
    made = [
        await tenant.sandbox.made(TOPUPS, BOUGHT | {"payment_reference": f"pi_{number}", "end_user_id": name})
        for number, name in enumerate(("u", "v", "u"))
    ]
    assert (await tenant.sandbox.read(TOPUPS))["data"] == made[::-1]
    assert (await tenant.sandbox.read(TOPUPS, end_user_id="u"))["data"] == [made[2], made[0]]
    first = await tenant.sandbox.read(TOPUPS, end_user_id="u", limit=1)
    rest = await tenant.sandbox.read(TOPUPS, end_user_id="u", limit=1, cursor=first["next_cursor"])
    assert first["data"] + rest["data"] == [made[2], made[0]]
    assert rest["next_cursor"] is None
    assert (await tenant.live.read(TOPUPS))["data"] == []
    assert_problem(await tenant.sandbox.get(TOPUPS, end_user_id="nobody"), Code.UNKNOWN_CUSTOMER)
    assert_problem(await tenant.sandbox.get(TOPUPS, cursor="AAAA"), Code.INVALID_VALUE, "cursor")
