"""The list of what one customer has of their own."""

from datetime import UTC, datetime, timedelta

from app.embedded.valkey import EmbeddedValkey
from app.wire.codes import Code
from tests.app.core import Tenant, open_core
from tests.app.overrides.test_overrides import SetClock, path, put
from tests.app.web.test_problems import assert_problem
from tests.conftest import DatabaseUrls

LIST = "/v1/customers/u/overrides"


async def make_customers(tenant: Tenant) -> None:
    """Two of them, on no plan, and gauges from `a` to `e`."""
    for end_user_id in ("u", "other"):
        await tenant.sandbox.made("/v1/customers", {"end_user_id": end_user_id})
    for key in "ebdac":
        await tenant.sandbox.made("/v1/features", {"key": key, "name": key, "kind": "gauge", "default_value": 1})


async def test_all_of_one_customer(tenant: Tenant) -> None:
    """By feature, page by page, each as it is read alone; neither what others have nor what was taken away."""
    await make_customers(tenant)
    assert await tenant.sandbox.read(LIST) == {"data": [], "next_cursor": None}
    made = {key: await put(tenant, "u", key, value=number) for number, key in enumerate("dbcae")}
    await put(tenant, "other", "a", value=9)
    assert (await tenant.sandbox.send("DELETE", path("u", "e"))).status_code == 200
    first = await tenant.sandbox.read(LIST, limit=3)
    rest = await tenant.sandbox.read(LIST, limit=3, cursor=first["next_cursor"])
    assert (first["data"], rest["data"]) == ([made[key] for key in "abc"], [made["d"]])
    assert rest["next_cursor"] is None
    assert await tenant.sandbox.read(path("u", "a")) == made["a"]


async def test_what_has_expired_says_so(urls: DatabaseUrls, valkey: EmbeddedValkey) -> None:
    """From its moment on, in the list, alone, and when it is taken away."""
    clock = SetClock(datetime(2026, 1, 1, tzinfo=UTC))
    async with open_core(urls, valkey.url, clock) as core:
        tenant = await core.tenant()
        await make_customers(tenant)
        expires_at = clock.moment + timedelta(hours=1)
        await put(tenant, "u", "a", value=1, expires_at=expires_at.isoformat())
        await put(tenant, "u", "b", value=2)

        async def expired() -> list[bool]:
            return [body["expired"] for body in (await tenant.sandbox.read(LIST))["data"]]

        clock.moment = expires_at - timedelta(microseconds=1)
        assert await expired() == [False, False]
        clock.moment = expires_at
        assert await expired() == [True, False]
        assert (await tenant.sandbox.read(path("u", "a")))["expired"]
        assert (await tenant.sandbox.send("DELETE", path("u", "a"))).json()["expired"]


async def test_of_nobody(tenant: Tenant) -> None:
    """A customer that there is not has no list, nor has one of another environment."""
    await make_customers(tenant)
    assert_problem(await tenant.sandbox.get("/v1/customers/nobody/overrides"), Code.UNKNOWN_CUSTOMER)
    assert_problem(await tenant.live.get(LIST), Code.UNKNOWN_CUSTOMER)
