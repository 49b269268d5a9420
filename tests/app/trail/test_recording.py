"""What the audit log has of a mutation, and of which it has nothing."""

import asyncio

import asyncpg
import pytest

from app.io.clock import Clock
from app.trail import store
from app.wire.codes import Code
from tests.app.core import Core, Tenant
from tests.app.schema.catalogue import connected
from tests.app.trail.log import read_changes
from tests.app.web.test_problems import assert_problem
from tests.conftest import DatabaseUrls

PLAN = {"key": "p", "name": "P"}


async def test_a_row_says_who_asked_for_what_and_when(core: Core, tenant: Tenant, urls: DatabaseUrls) -> None:
    """The key as it is shown, the request's name, the route, what was asked and what was answered."""
    before = Clock().now()
    headers = {"x-request-id": "mine", "idempotency-key": "k"}
    answer = await tenant.sandbox.send("POST", "/v1/plans", json=PLAN, headers=headers)
    principal = await core.parts.api_keys.authenticate(tenant.sandbox.key, "192.0.2.1")
    assert principal is not None
    [row] = await read_changes(urls, tenant.environment_id)
    assert before <= row["at"] <= Clock().now()
    assert (row["actor"], row["request_id"], row["route"]) == (principal.actor, "mine", "POST /v1/plans")
    assert (row["status"], row["after"], row["idempotency_key"]) == (201, answer.json(), "k")
    assert (row["request"]["path"], row["request"]["body"]["name"]) == ({}, "P")


async def test_the_path_and_the_reason_are_in_it(tenant: Tenant, urls: DatabaseUrls) -> None:
    """Wherever a request gives one."""
    await tenant.sandbox.made("/v1/customers", {"end_user_id": "u"})
    await tenant.sandbox.made("/v1/credits/grants", {"end_user_id": "u", "amount": 5, "reason": "an apology"})
    await tenant.sandbox.made("/v1/plans", PLAN)
    await tenant.sandbox.send("PATCH", "/v1/plans/p", json={"name": "Q"})
    _, grant, _, change = await read_changes(urls, tenant.environment_id)
    assert grant["reason"] == "an apology"
    assert (change["reason"], change["request"]) == (None, {"path": {"key": "p"}, "body": {"name": "Q"}})


@pytest.mark.parametrize("key", ["k", None])
async def test_of_a_refusal_there_is_nothing(tenant: Tenant, urls: DatabaseUrls, key: str | None) -> None:
    """Whether its answer is stored or not; nor of a question what would happen."""
    grant = {"end_user_id": "u", "amount": 5}
    assert_problem(await tenant.sandbox.post("/v1/credits/grants", grant, key), Code.UNKNOWN_CUSTOMER)
    assert_problem(await tenant.sandbox.post("/v1/plans", PLAN | {"key": "!"}, key), Code.INVALID_VALUE, "key")
    assert await read_changes(urls, tenant.environment_id) == []
    await tenant.sandbox.made("/v1/customers", {"end_user_id": "u"})
    block = (await tenant.sandbox.made("/v1/credits/grants", grant))["credit_block_id"]
    rows = await read_changes(urls, tenant.environment_id)
    asked = {"credit_block_id": block, "reason": "r", "dry_run": True}
    assert (await tenant.sandbox.post("/v1/credits/voids", asked, key)).status_code == 200
    assert await read_changes(urls, tenant.environment_id) == rows


async def test_replays_and_twins_leave_one_row(tenant: Tenant, urls: DatabaseUrls) -> None:
    """The row is in the transaction that had the effect."""
    answers = await asyncio.gather(*(tenant.sandbox.post("/v1/plans", PLAN, key="k") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {201}
    assert len(await read_changes(urls, tenant.environment_id)) == 1


async def test_no_effect_without_its_row(tenant: Tenant, urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the row cannot be written nothing has happened, and the key is as good as new."""

    async def fail(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(store, "insert_audit", fail)
        assert_problem(await tenant.sandbox.post("/v1/plans", PLAN, key="k"), Code.INTERNAL_ERROR)
    assert (await tenant.sandbox.read("/v1/plans"))["data"] == []
    assert (await tenant.sandbox.post("/v1/plans", PLAN, key="k")).status_code == 201
    assert len(await read_changes(urls, tenant.environment_id)) == 1


async def test_any_text_of_json_can_be_told(tenant: Tenant, urls: DatabaseUrls) -> None:
    """Metadata is the client's, with every escape that JSON has."""
    await tenant.sandbox.made("/v1/customers", {"end_user_id": "u"})
    metadata = {"a\u0000b": "\u0000\ud7ff\\u0000", "n": 12345678901234567890}
    await tenant.sandbox.made("/v1/credits/grants", {"end_user_id": "u", "amount": 5, "metadata": metadata})
    assert (await read_changes(urls, tenant.environment_id))[1]["request"]["body"]["metadata"] == metadata


async def test_an_environment_has_its_own(tenant: Tenant, urls: DatabaseUrls) -> None:
    """Core neither sees nor writes the rows of another, and changes none."""
    await tenant.sandbox.made("/v1/plans", PLAN)
    async with connected(urls.of("quotastack_core"), tenant.environment_id) as connection:
        assert await connection.fetchval("SELECT count(*) FROM audit_log") == 2
        for change in ("UPDATE audit_log SET reason = 'x'", "DELETE FROM audit_log"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(change)
    live = tenant.made["live_environment_id"].removeprefix("env_")
    async with connected(urls.of("quotastack_core"), live) as connection:
        assert await connection.fetchval("SELECT count(*) FROM audit_log") == 1
