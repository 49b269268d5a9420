"""One key, one effect, one answer, for every route that changes something."""

import asyncio
from typing import Any

import pytest

from app.embedded.valkey import EmbeddedValkey
from app.io import postgres
from app.trail import store
from app.trail.idempotency import is_stored
from app.wire.codes import MEANINGS, Code
from tests.app.core import Core, Tenant, make_catalogue, open_core
from tests.app.web.test_problems import assert_problem
from tests.conftest import DatabaseUrls

PLAN = {"key": "p", "name": "P"}
GRANT = {"end_user_id": "u", "amount": 10}


async def customer(tenant: Tenant) -> None:
    """The customer that grants go to."""
    await tenant.sandbox.made("/v1/customers", {"end_user_id": "u"})


async def balance(tenant: Tenant) -> Any:
    """What the customer has."""
    return (await tenant.sandbox.read("/v1/customers/u/credits"))["balance"]


async def test_a_replay_is_the_stored_answer_byte_for_byte(tenant: Tenant) -> None:
    """And says that it is one; there is one effect."""
    await customer(tenant)
    first = await tenant.sandbox.post("/v1/credits/grants", GRANT, key="k")
    assert first.status_code == 201
    assert "idempotent-replayed" not in first.headers
    for _ in range(3):
        again = await tenant.sandbox.post("/v1/credits/grants", GRANT, key="k")
        assert (again.status_code, again.content) == (201, first.content)
        assert again.headers["content-type"] == first.headers["content-type"]
        assert again.headers["idempotent-replayed"] == "true"
    assert await balance(tenant) == 10


async def test_fifty_twins_have_one_effect(tenant: Tenant) -> None:
    """All get the same answer, the one that did the work among them."""
    await customer(tenant)
    answers = await asyncio.gather(*(tenant.sandbox.post("/v1/credits/grants", GRANT, key="k") for _ in range(50)))
    assert {(answer.status_code, answer.content) for answer in answers} == {(201, answers[0].content)}
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert await balance(tenant) == 10


async def test_another_request_under_the_key_is_refused_by_name(tenant: Tenant) -> None:
    """What differs is named, defaults count as if they were sent, and nothing happens."""
    await customer(tenant)
    await tenant.sandbox.post("/v1/credits/grants", GRANT, key="k")
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({"amount": 11}, ["amount"]),
        ({"end_user_id": "v", "priority": 1}, ["end_user_id", "priority"]),
        ({"expires_at": "2100-01-01T00:00:00Z"}, ["expires_at"]),
    ]
    for change, mismatch in cases:
        answer = await tenant.sandbox.post("/v1/credits/grants", GRANT | change, key="k")
        problem = assert_problem(answer, Code.IDEMPOTENCY_KEY_REUSED)
        assert problem["mismatch"] == mismatch
        named = ", ".join(f"`{name}`" for name in mismatch)
        said = f"The Idempotency-Key 'k' was used for a request with another value of {named}. Use a new key."
        assert problem["detail"] == said
    same = await tenant.sandbox.post("/v1/credits/grants", GRANT | {"amount": 10.0, "source": "promo"}, key="k")
    assert same.headers["idempotent-replayed"] == "true"
    assert await balance(tenant) == 10


async def test_the_path_belongs_to_the_request(tenant: Tenant) -> None:
    """The same body for another feature is another request."""
    for key in ("a", "b"):
        await tenant.sandbox.made("/v1/features", {"key": key, "name": key})
    price = {"kind": "flat", "amount": 1}
    assert (await tenant.sandbox.post("/v1/features/a/prices", price, key="k")).status_code == 201
    answer = await tenant.sandbox.post("/v1/features/b/prices", price, key="k")
    assert assert_problem(answer, Code.IDEMPOTENCY_KEY_REUSED)["mismatch"] == ["path.key"]


async def test_a_key_counts_for_its_route_and_environment(tenant: Tenant) -> None:
    """The same key elsewhere is another key."""
    for client in (tenant.sandbox, tenant.live):
        for path, body in (("/v1/features", {"key": "f", "name": "F"}), ("/v1/plans", PLAN)):
            answer = await client.post(path, body, key="k")
            assert answer.status_code == 201
            assert "idempotent-replayed" not in answer.headers


async def test_a_stored_refusal_stays_a_refusal(tenant: Tenant) -> None:
    """404 and 409 are answers; the state may change, the answer under this key does not."""
    refused = await tenant.sandbox.post("/v1/credits/grants", GRANT, key="k")
    assert_problem(refused, Code.UNKNOWN_CUSTOMER)
    await customer(tenant)
    again = await tenant.sandbox.post("/v1/credits/grants", GRANT, key="k")
    assert (again.status_code, again.content) == (refused.status_code, refused.content)
    assert again.headers["content-type"] == "application/problem+json"
    assert again.headers["idempotent-replayed"] == "true"
    assert (await tenant.sandbox.post("/v1/credits/grants", GRANT, key="new")).status_code == 201


@pytest.mark.usefixtures("flusher")
async def test_of_a_refused_request_nothing_remains(core: Core, tenant: Tenant) -> None:
    """Neither rows that were written before the refusal, nor anything at the edge."""
    variant = await make_catalogue(tenant.sandbox)
    body = {"end_user_id": "u", "plan_variant_id": variant}
    await tenant.sandbox.made("/v1/subscriptions", body)
    before = await tenant.sandbox.read("/v1/customers/u/ledger")
    answer = await tenant.sandbox.post("/v1/subscriptions", body, key="k")
    assert assert_problem(answer, Code.SUBSCRIPTION_EXISTS)["context"]["subscription_id"].startswith("sub_")
    assert await tenant.sandbox.read("/v1/customers/u/ledger") == before
    assert len((await tenant.sandbox.read("/v1/subscriptions"))["data"]) == 1
    view = await core.parts.redis.read_account(tenant.environment_id, "u")
    assert view is not None
    assert (view.base_micro, view.subscription_status) == (50_000_000_000, "active")


async def test_what_is_no_answer_is_not_stored(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a validation error or a failure the key is as good as new."""
    await customer(tenant)
    for bad in (GRANT | {"amount": 0}, GRANT | {"expires_at": "2000-01-01T00:00:00Z"}, GRANT | {"amount": 9e9}):
        await tenant.sandbox.made("/v1/credits/grants", {"end_user_id": "u", "amount": 1_000_000_000})
        answer = await tenant.sandbox.post("/v1/credits/grants", bad, key="k")
        assert answer.status_code == 422, answer.text
    remember = store.remember_answer

    async def fail(*arguments: Any) -> None:
        await remember(*arguments)
        raise ZeroDivisionError

    monkeypatch.setattr(store, "remember_answer", fail)
    assert_problem(await tenant.sandbox.post("/v1/credits/grants", GRANT, key="k"), Code.INTERNAL_ERROR)
    monkeypatch.undo()
    assert (await tenant.sandbox.post("/v1/credits/grants", GRANT, key="k")).status_code == 201
    assert await balance(tenant) == 3_000_000_010


async def test_a_twin_that_takes_long_is_in_flight(
    urls: DatabaseUrls, valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes second waits a little, and is then told to come back."""
    monkeypatch.setattr(postgres, "LOCK_TIMEOUT_MILLISECONDS", 100)
    entered, release = asyncio.Event(), asyncio.Event()
    remember = store.remember_answer

    async def wait(*arguments: Any) -> None:
        entered.set()
        await release.wait()
        await remember(*arguments)

    async with open_core(urls, valkey.url) as core:
        client = (await core.tenant()).sandbox
        with monkeypatch.context() as patched:
            patched.setattr(store, "remember_answer", wait)
            slow = asyncio.create_task(client.post("/v1/plans", PLAN, key="k"))
            await entered.wait()
            answer = await client.post("/v1/plans", PLAN, key="k")
            assert_problem(answer, Code.IDEMPOTENCY_KEY_IN_FLIGHT)
            assert answer.headers["retry-after"] == "1"
            release.set()
            assert (await slow).status_code == 201
        assert (await client.post("/v1/plans", PLAN, key="k")).headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\u00e9", "tab\tinside"])
async def test_keys_have_a_form(tenant: Tenant, key: str) -> None:
    """1 to 255 printable ASCII characters."""
    headers = {b"idempotency-key": key.encode("latin-1"), b"authorization": f"Bearer {tenant.sandbox.key}".encode()}
    answer = await tenant.sandbox.http.post("/v1/features", json={"key": "f", "name": "F"}, headers=headers)
    assert_problem(answer, Code.INVALID_VALUE, "Idempotency-Key")


def test_which_refusals_are_answers() -> None:
    """Those that follow from how things stand, and do not pass by themselves; nothing about who asks, or about us."""
    stored = {code for code in Code if is_stored(code)}
    assert stored >= {Code.UNKNOWN_CUSTOMER, Code.INSUFFICIENT_CREDITS, Code.CONFLICT, Code.ALREADY_VOIDED}
    assert {MEANINGS[code].status for code in stored} == {402, 404, 409}
    passing = {code for code in Code if MEANINGS[code].status in {402, 404, 409}} - stored
    assert passing == {Code.EVENT_PENDING, Code.IDEMPOTENCY_KEY_IN_FLIGHT, Code.TOO_MANY_REPLAYS}
