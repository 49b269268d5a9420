"""Packages that credit is sold in."""

from typing import Any

import msgspec

from app.wire.codes import Code
from tests.app.core import Client, Tenant
from tests.app.web.test_problems import assert_problem

PACKAGES = "/v1/topup-packages"
PACKAGE = {"key": "small", "name": "Small", "credits": 100.5, "price_paid": 999, "currency": "EUR"}


async def change(client: Client, key: str, body: Any, idempotency_key: str | None = None) -> Any:
    """PATCH a package."""
    headers = {} if idempotency_key is None else {"idempotency-key": idempotency_key}
    return await client.send("PATCH", f"{PACKAGES}/{key}", content=msgspec.json.encode(body), headers=headers)


async def test_making_and_finding(tenant: Tenant) -> None:
    """With what it defaults to; one, and all by key, page by page."""
    made = await tenant.sandbox.made(PACKAGES, PACKAGE)
    assert made["package_id"].startswith("pkg_")
    assert {name: made[name] for name in PACKAGE} == PACKAGE
    assert (made["priority"], made["expires_after_days"], made["active"]) == (100, None, True)
    assert await tenant.sandbox.read(f"{PACKAGES}/small") == made
    more = {"key": "a", "priority": 3, "expires_after_days": 30, "active": False}
    other = await tenant.sandbox.made(PACKAGES, PACKAGE | more)
    assert {name: other[name] for name in more} == more
    first = await tenant.sandbox.read(PACKAGES, limit=1)
    rest = await tenant.sandbox.read(PACKAGES, limit=1, cursor=first["next_cursor"])
    assert first["data"] + rest["data"] == [other, made]
    assert rest["next_cursor"] is None
    assert (await tenant.live.read(PACKAGES))["data"] == []
    assert_problem(await tenant.live.get(f"{PACKAGES}/small"), Code.UNKNOWN_PACKAGE)


async def test_taking_it_off_sale_and_putting_it_back(tenant: Tenant) -> None:
    """Nothing else of it changes, and a key does it once."""
    made = await tenant.sandbox.made(PACKAGES, PACKAGE)
    off = await change(tenant.sandbox, "small", {"active": False}, "k")
    assert (off.status_code, off.json()) == (200, made | {"active": False})
    assert await tenant.sandbox.read(f"{PACKAGES}/small") == off.json()
    on = await change(tenant.sandbox, "small", {"active": True})
    assert (on.status_code, on.json()) == (200, made)
    again = await change(tenant.sandbox, "small", {"active": False}, "k")
    assert (again.status_code, again.content) == (200, off.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert await tenant.sandbox.read(f"{PACKAGES}/small") == made


async def test_a_key_makes_one_package(tenant: Tenant) -> None:
    """The same answer under the same idempotency key; without one the second is a conflict."""
    first = await tenant.sandbox.post(PACKAGES, PACKAGE, key="k")
    again = await tenant.sandbox.post(PACKAGES, PACKAGE, key="k")
    assert (again.status_code, again.content) == (201, first.content)
    assert_problem(await tenant.sandbox.post(PACKAGES, PACKAGE), Code.CONFLICT)
    assert (await tenant.sandbox.read(PACKAGES))["data"] == [first.json()]


REFUSED: list[tuple[dict[str, Any], Code, str | None]] = [
    ({"key": "Small"}, Code.INVALID_VALUE, "key"),
    ({"name": ""}, Code.INVALID_VALUE, "name"),
    ({"credits": 0}, Code.INVALID_VALUE, "credits"),
    ({"credits": -1}, Code.INVALID_VALUE, "credits"),
    ({"credits": 0.0000001}, Code.INVALID_VALUE, "credits"),
    ({"credits": 9_007_199_255}, Code.INVALID_VALUE, "credits"),
    ({"price_paid": -1}, Code.INVALID_VALUE, "price_paid"),
    ({"price_paid": 9.99}, Code.INVALID_BODY, "price_paid"),
    ({"currency": "eur"}, Code.INVALID_VALUE, "currency"),
    ({"currency": None}, Code.INVALID_BODY, "currency"),
    ({"priority": 1001}, Code.INVALID_VALUE, "priority"),
    ({"expires_after_days": 0}, Code.INVALID_VALUE, "expires_after_days"),
    ({"expires_after_days": 36_501}, Code.INVALID_VALUE, "expires_after_days"),
    ({"price": 1}, Code.UNKNOWN_FIELD, "price"),
]


async def test_packages_that_cannot_be(tenant: Tenant) -> None:
    """Each is refused by name, and none is made."""
    for changed, code, field in REFUSED:
        assert_problem(await tenant.sandbox.post(PACKAGES, PACKAGE | changed), code, field)
    assert (await tenant.sandbox.read(PACKAGES))["data"] == []


async def test_changes_that_cannot_be(tenant: Tenant) -> None:
    """Terms do not change, and what there is not cannot."""
    made = await tenant.sandbox.made(PACKAGES, PACKAGE)
    for body, code, field in (
        ({"active": False, "credits": 1}, Code.UNKNOWN_FIELD, "credits"),
        ({"active": None}, Code.INVALID_BODY, "active"),
        ({}, Code.INVALID_BODY, "active"),
    ):
        assert_problem(await change(tenant.sandbox, "small", body), code, field)
    for client, key in ((tenant.sandbox, "none"), (tenant.live, "small")):
        assert_problem(await change(client, key, {"active": False}), Code.UNKNOWN_PACKAGE)
    assert await tenant.sandbox.read(f"{PACKAGES}/small") == made
