"""Making tenants."""

from app.wire import key_digest
from app.wire.codes import Code
from app.wire.scopes import Scope
from tests.app.core import Core
from tests.app.schema.catalogue import connected
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
