"""What becomes of who sends core many keys or tokens that are none."""

from datetime import timedelta

import httpx

from app.io.ids import new_api_key
from app.rules.guesses import KEYS_AT_ONCE, TOKENS_AT_ONCE
from app.wire.codes import Code
from tests.app.core import SECRETS, Core, Tenant
from tests.app.tenants.issuer import KEYS, SetClock, make, revoke
from tests.app.web.test_problems import assert_problem

SECOND = timedelta(seconds=1)


async def ask(core: Core, key: str, address: str) -> httpx.Response:
    """A request with a key, from an address, as a proxy passes it on."""
    headers = {"authorization": f"Bearer {key}", "x-forwarded-for": f"203.0.113.9, {address}"}
    return await core.operator.http.get(KEYS, headers=headers)


async def flood(core: Core, address: str) -> None:
    """As many keys as an address may guess, well-formed ones and others."""
    for number in range(KEYS_AT_ONCE):
        key = new_api_key("sandbox") if number % 10 == 0 else f"qs_test_{number}"
        assert_problem(await ask(core, key, address), Code.UNAUTHENTICATED)


async def test_who_guesses_keys_is_not_listened_to(core: Core, tenant: Tenant, clock: SetClock) -> None:
    """429 with Retry-After, for keys that are new to core and from that address; after a while it may try again."""
    newcomer = await make(tenant)
    await flood(core, "198.51.100.1")
    for key in (new_api_key("sandbox"), "qs_test_x", newcomer["key"]):
        answer = await ask(core, key, "198.51.100.1")
        assert_problem(answer, Code.TOO_MANY_REQUESTS)
        assert answer.headers["retry-after"] == "1"
    assert_problem(await ask(core, newcomer["key"], "198.51.100.2"), Code.MISSING_SCOPE)
    clock.at += SECOND
    assert_problem(await ask(core, new_api_key("sandbox"), "198.51.100.1"), Code.UNAUTHENTICATED)


async def test_keys_that_core_knows_go_on(core: Core, tenant: Tenant) -> None:
    """From the same address, good ones and such as were good or never were: they are no guesses."""
    revoked, address = await make(tenant), "198.51.100.1"
    assert_problem(await ask(core, revoked["key"], address), Code.MISSING_SCOPE)
    await revoke(tenant.sandbox, revoked["api_key_id"])
    await flood(core, address)
    assert (await ask(core, tenant.sandbox.key, address)).status_code == 200
    for _ in range(3):
        assert_problem(await ask(core, revoked["key"], address), Code.UNAUTHENTICATED)
        assert_problem(await ask(core, "qs_test_1", address), Code.UNAUTHENTICATED)


async def test_who_sends_no_key_guesses_nothing(core: Core, tenant: Tenant) -> None:
    """However often."""
    for _ in range(KEYS_AT_ONCE + 1):
        assert_problem(await core.operator.http.get(KEYS), Code.UNAUTHENTICATED)
    assert (await tenant.sandbox.get(KEYS)).status_code == 200


async def test_the_operators_token_cannot_be_tried_at_will(core: Core, clock: SetClock) -> None:
    """After some that are wrong even the right one is not looked at from there: it may be of the operator's making."""

    async def create(token: str, address: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {token}", "x-forwarded-for": address}
        return await core.operator.http.post("/v1/tenants", headers=headers, json={"name": "n"})

    right, address = SECRETS["admin_token"], "198.51.100.1"
    for number in range(TOKENS_AT_ONCE):
        assert_problem(await create(f"{right}{number}", address), Code.UNAUTHENTICATED)
        assert_problem(await create("", "198.51.100.3"), Code.UNAUTHENTICATED)
    answer = await create(right, address)
    assert_problem(answer, Code.TOO_MANY_REQUESTS)
    assert answer.headers["retry-after"] == "1"
    assert (await create(right, "198.51.100.2")).status_code == 201
    assert (await create(right, "198.51.100.3")).status_code == 201
    clock.at += SECOND
    assert (await create(right, address)).status_code == 201
