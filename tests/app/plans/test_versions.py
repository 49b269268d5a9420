"""Versions of variants: only ever followed by another one."""

import asyncio

import asyncpg
import pytest

from app.wire.codes import Code
from tests.app.core import Core, Tenant, make_catalogue
from tests.app.metering.test_features import published_terms
from tests.app.schema.catalogue import connected
from tests.app.web.test_problems import assert_problem
from tests.conftest import DatabaseUrls

VERSIONS = "/v1/plans/pro/variants/monthly/versions"
NEXT = {
    "interval": "month",
    "grants": [{"amount": 7, "interval": "month"}],
    "features": [{"feature_key": "api_calls", "price": {"kind": "per_unit", "amount": 3}, "limit": 9}],
}


async def test_the_next_version_has_its_own_terms(tenant: Tenant) -> None:
    """It is the variant's from now on; what is left out has its default, and the one before stays as it was."""
    await make_catalogue(tenant.sandbox)
    [first] = (await tenant.sandbox.read("/v1/plans/pro/variants"))["data"]
    second = await tenant.sandbox.made(VERSIONS, {"interval": "year", "trial_days": 3})
    assert (second["version"], second["interval"], second["trial_days"]) == (2, "year", 3)
    assert (second["grants"], second["features"]) == ([], [])
    same = ("plan_variant_id", "plan_key", "key", "created_at")
    assert [second[name] for name in same] == [first[name] for name in same]
    assert second["published_at"] > first["published_at"]
    assert (await tenant.sandbox.read("/v1/plans/pro/variants"))["data"] == [second]
    assert await tenant.sandbox.read("/v1/plans/pro/variants/monthly") == second
    assert (await tenant.sandbox.read(VERSIONS))["data"] == [second, first]
    page = await tenant.sandbox.read(VERSIONS, limit=1)
    rest = await tenant.sandbox.read(VERSIONS, limit=1, cursor=page["next_cursor"])
    assert (page["data"], rest["data"], rest["next_cursor"]) == ([second], [first], None)


@pytest.mark.usefixtures("flusher")
async def test_subscribers_stay_on_theirs(core: Core, tenant: Tenant) -> None:
    """Who comes later gets the newest: other credit, another price, a limit. Nobody else's account is touched."""
    variant = await make_catalogue(tenant.sandbox)
    before = await tenant.sandbox.made("/v1/subscriptions", {"end_user_id": "old", "plan_variant_id": variant})
    view = await core.parts.redis.read_account(tenant.environment_id, "old")
    await tenant.sandbox.made(VERSIONS, NEXT)
    after = await tenant.sandbox.made("/v1/subscriptions", {"end_user_id": "new", "plan_variant_id": variant})
    assert (before["version"], after["version"]) == (1, 2)
    assert (await tenant.sandbox.read(f"/v1/subscriptions/{before['subscription_id']}"))["version"] == 1
    assert await core.parts.redis.read_account(tenant.environment_id, "old") == view
    await tenant.sandbox.made("/v1/features", {"key": "other", "name": "O"})  # composes every account anew
    terms = {name: (await published_terms(core, tenant, name))["api_calls"] for name in ("old", "new")}
    assert (terms["old"].limit_units_micro, terms["new"].limit_units_micro) == (None, 9_000_000)
    assert terms["old"].rates != terms["new"].rates
    for name, balance in (("old", 50_000), ("new", 7)):
        assert (await tenant.sandbox.read(f"/v1/customers/{name}/credits"))["balance"] == balance


async def test_those_published_at_once_get_numbers_of_their_own(tenant: Tenant) -> None:
    """One after the other, none lost; under one idempotency key there is one."""
    await make_catalogue(tenant.sandbox)
    made = await asyncio.gather(*[tenant.sandbox.made(VERSIONS, {"interval": "month"}) for _ in range(5)])
    assert sorted(version["version"] for version in made) == [2, 3, 4, 5, 6]
    twins = await asyncio.gather(*[tenant.sandbox.post(VERSIONS, {"interval": "month"}, key="k") for _ in range(3)])
    assert {twin.json()["version"] for twin in twins} == {7}
    assert (await tenant.sandbox.read("/v1/plans/pro/variants"))["data"][0]["version"] == 7


async def test_of_what_there_is_not(tenant: Tenant) -> None:
    """404 for the plan and for the variant, whether something is published or read; the detail says which."""
    await make_catalogue(tenant.sandbox)
    for plan, variant, missing in (("none", "monthly", "No plan"), ("pro", "none", "no variant")):
        path = f"/v1/plans/{plan}/variants/{variant}"
        published = await tenant.sandbox.post(f"{path}/versions", {"interval": "month"})
        for answer in (published, await tenant.sandbox.get(f"{path}/versions"), await tenant.sandbox.get(path)):
            assert missing in assert_problem(answer, Code.NOT_FOUND)["detail"]


@pytest.mark.parametrize("table", ["plans", "plan_variant_versions", "plan_grants", "plan_features", "prices"])
async def test_core_cannot_change_a_version(tenant: Tenant, urls: DatabaseUrls, table: str) -> None:
    """Nor anything that belongs to one: it lacks the privilege."""
    await make_catalogue(tenant.sandbox)
    async with connected(urls.of("quotastack_core"), tenant.environment_id) as connection:
        for change in (f"UPDATE {table} SET environment_id = environment_id", f"DELETE FROM {table}"):  # noqa: S608 - names from this file
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(change)
