"""Making tenants."""

import asyncio

from app.wire import key_digest
from app.wire.codes import Code
from app.wire.ids import parse
from app.wire.scopes import Scope
from tests.app.core import Core
from tests.app.schema.catalogue import connected
from tests.app.trail.log import read_log
from tests.app.web.test_problems import assert_problem
from tests.conftest import DatabaseUrls


async def test_a_tenant_has_two_environments_and_a_key_of_each(core: Core) -> None:
    """The keys tell their environments, differ, and may do everything."""
    made = (await core.tenant("Acme Ltd.")).made
    assert made["name"] == "Acme Ltd."
    prefixes = {"tenant_id": "ten_", "sandbox_environment_id": "env_", "live_environment_id": "env_"}
    assert all(made[name].startswith(prefix) for name, prefix in prefixes.items())
    assert made["sandbox_key"].startswith("qs_test_")
    assert made["live_key"].startswith("qs_live_")
    assert all(key_digest.is_well_formed(made[name]) for name in ("sandbox_key", "live_key"))
    for name, kind in (("sandbox_key", "sandbox"), ("live_key", "live")):
        principal = await core.parts.api_keys.authenticate(made[name], "192.0.2.1")
        assert principal is not None
        assert (principal.environment_kind, principal.scopes) == (kind, frozenset(Scope))


async def test_no_key_is_stored_in_clear(core: Core, urls: DatabaseUrls) -> None:
    """Of a key there is a digest under the pepper, and as much of its text as tells it from others."""
    made = (await core.tenant()).made
    async with connected(urls.owner) as connection:
        rows = await connection.fetch("SELECT digest, display_prefix FROM api_keys")
    keys = [made["sandbox_key"], made["live_key"]]
    assert {row["digest"] for row in rows} == {core.parts.api_keys.digest(key) for key in keys}
    assert {row["display_prefix"] for row in rows} == {key[:12] for key in keys}


async def test_names_have_a_form(core: Core) -> None:
    """1 to 200 characters, none of them a control character."""
    for name, code in (("", Code.INVALID_VALUE), ("x" * 201, Code.INVALID_VALUE), ("a\nb", Code.INVALID_VALUE)):
        assert_problem(await core.operator.post("/v1/tenants", {"name": name}), code, "name")
    await core.tenant("x" * 200)


async def test_a_replay_has_everything_but_the_keys(core: Core, urls: DatabaseUrls) -> None:
    """There is one tenant, whose keys were shown once; in the tables there is nothing of them."""
    answers = await asyncio.gather(*(core.operator.post("/v1/tenants", {"name": "Acme"}, key="k") for _ in range(9)))
    assert {answer.status_code for answer in answers} == {201}
    [first] = [answer for answer in answers if "idempotent-replayed" not in answer.headers]
    shown = first.json()
    for replay in answers:
        if replay is not first:
            assert replay.json() == shown | {"sandbox_key": None, "live_key": None}
    assert await core.parts.api_keys.authenticate(shown["sandbox_key"], "192.0.2.1") is not None
    async with connected(urls.owner) as connection:
        assert await connection.fetchval("SELECT count(*) FROM tenants") == 1
        kept = await connection.fetch("SELECT request, body FROM operator_keys")
        told = await connection.fetch("SELECT * FROM audit_log")
    assert len(kept) == 1
    for name in ("sandbox_key", "live_key"):
        assert shown[name] not in f"{kept}{told}"


async def test_another_tenant_under_the_key_is_refused(core: Core, urls: DatabaseUrls) -> None:
    """By name, and none is made. A refusal that is a validation error leaves the key as it was."""
    assert_problem(await core.operator.post("/v1/tenants", {"name": ""}, key="k"), Code.INVALID_VALUE, "name")
    assert (await core.operator.post("/v1/tenants", {"name": "Acme"}, key="k")).status_code == 201
    refused = await core.operator.post("/v1/tenants", {"name": "Other"}, key="k")
    assert assert_problem(refused, Code.IDEMPOTENCY_KEY_REUSED)["mismatch"] == ["name"]
    async with connected(urls.owner) as connection:
        assert await connection.fetchval("SELECT count(*) FROM tenants") == 1


async def test_both_environments_know_who_made_them(core: Core, urls: DatabaseUrls) -> None:
    """A row in each log, of the operator."""
    made = (await core.tenant("Acme")).made
    for kind in ("sandbox", "live"):
        [row] = await read_log(urls, parse("env", made[f"{kind}_environment_id"]))
        assert (row["actor"], row["subject_kind"], row["subject_id"]) == ("operator", "tenant", made["tenant_id"])
        assert (row["route"], row["request"]["body"]) == ("POST /v1/tenants", {"name": "Acme"})
        assert row["after"] == made | {"sandbox_key": None, "live_key": None}
