"""The tenants' end users."""

import asyncio

import pytest

from app.wire.codes import Code
from tests.app.core import Core, Tenant, make_catalogue
from tests.app.schema.catalogue import connected
from tests.app.web.test_problems import assert_problem
from tests.conftest import DatabaseUrls


async def test_making_and_finding(core: Core, tenant: Tenant) -> None:
    """A customer is found by the tenant's own id, has an account from the start, and the edge knows it."""
    made = await tenant.sandbox.made("/v1/customers", {"end_user_id": "user_1"})
    assert made["customer_id"].startswith("cus_")
    assert await tenant.sandbox.read("/v1/customers/user_1") == made
    assert (await tenant.sandbox.read("/v1/customers"))["data"] == [made]
    assert (await tenant.sandbox.read("/v1/customers/user_1/credits"))["balance"] == 0
    assert await core.parts.redis.read_account(tenant.environment_id, "user_1") is not None


async def test_ids_are_case_sensitive_and_unique(tenant: Tenant) -> None:
    """A second one of the same id is refused."""
    await tenant.sandbox.made("/v1/customers", {"end_user_id": "User"})
    await tenant.sandbox.made("/v1/customers", {"end_user_id": "user"})
    assert_problem(await tenant.sandbox.post("/v1/customers", {"end_user_id": "user"}), Code.CONFLICT)


@pytest.mark.parametrize("end_user_id", ["", "a" * 257, "a\tb", "a\x7f", "a\x85", "a\n"])
async def test_ids_have_a_form(tenant: Tenant, end_user_id: str) -> None:
    """1 to 256 characters, none of them a control character."""
    answer = await tenant.sandbox.post("/v1/customers", {"end_user_id": end_user_id})
    assert_problem(answer, Code.INVALID_VALUE, "end_user_id")


@pytest.mark.usefixtures("flusher")
async def test_two_at_once_make_one(tenant: Tenant, urls: DatabaseUrls) -> None:
    """Whoever comes second is told so; subscribing at once finds the one that is made."""
    variant = await make_catalogue(tenant.sandbox)
    body = {"end_user_id": "u"}
    answers = await asyncio.gather(
        *(tenant.sandbox.post("/v1/customers", body) for _ in range(5)),
        *(tenant.sandbox.post("/v1/subscriptions", body | {"plan_variant_id": variant}) for _ in range(5)),
    )
    statuses = [answer.status_code for answer in answers]
    assert statuses[:5].count(201) <= 1
    assert sorted(statuses[5:]) == [201, 409, 409, 409, 409]
    async with connected(urls.owner) as connection:
        assert await connection.fetchval("SELECT count(*) FROM customers") == 1
        assert await connection.fetchval("SELECT count(*) FROM accounts") == 1
        assert await connection.fetchval("SELECT count(*) FROM outbox WHERE type = 'customer.created'") == 1
    assert (await tenant.sandbox.read("/v1/customers/u/credits"))["balance"] == 50_000
