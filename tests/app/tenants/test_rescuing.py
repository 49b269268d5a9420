"""A key from the operator for a tenant that is locked out."""

from uuid import UUID, uuid4

import pytest

from app.tenants.rescuing import NoSuchEnvironment, make_key
from app.wire.scopes import Scope
from tests.app.core import SECRETS, Core, Tenant
from tests.app.schema.catalogue import connected
from tests.app.tenants.issuer import KEYS, own_id, revoke
from tests.conftest import DatabaseUrls


async def test_the_operator_lets_a_tenant_in_again(core: Core, tenant: Tenant, urls: DatabaseUrls) -> None:
    """With a key of that environment that may do everything, and of which the audit log knows."""
    await revoke(tenant.sandbox, await own_id(tenant), force="true")
    for environment, kind in (("sandbox", "qs_test_"), ("live", "qs_live_")):
        environment_id = UUID(tenant.made[f"{environment}_environment_id"].removeprefix("env_"))
        key = await make_key(urls.owner, SECRETS["key_pepper"], environment_id, "Way back in")
        assert key.startswith(kind)
        made = (await core.client(key).read(KEYS))["data"][-1]
        assert (made["name"], made["created_by"], made["scopes"]) == ("Way back in", "operator", [Scope.ADMIN])
        async with connected(urls.owner) as connection:
            statement = "SELECT actor FROM audit_log WHERE environment_id = $1 AND subject_id = $2"
            assert await connection.fetchval(statement, environment_id, made["api_key_id"]) == "operator"
            rows = await connection.fetch("SELECT a::text AS row FROM audit_log a")
        assert key not in "".join(row["row"] for row in rows)


async def test_what_is_no_environment_and_no_name(tenant: Tenant, urls: DatabaseUrls) -> None:
    """Nothing is made."""
    pepper = SECRETS["key_pepper"]
    with pytest.raises(NoSuchEnvironment, match="env_"):
        await make_key(urls.owner, pepper, uuid4(), "n")
    for name in ("", "x" * 201, "a\nb"):
        with pytest.raises(ValueError, match="name"):
            await make_key(urls.owner, pepper, tenant.environment_id, name)
    assert len((await tenant.sandbox.read(KEYS))["data"]) == 1
