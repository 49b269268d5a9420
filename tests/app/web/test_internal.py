"""The second listener: what edges ask of core."""

from uuid import uuid4

from app.wire import keys
from app.wire.codes import Code
from app.wire.snapshot import decode_api_key, decode_plan
from tests.app.core import PARTITIONS, SECRETS, Core, Tenant
from tests.app.web.test_problems import assert_problem


async def test_it_asks_for_the_secret(core: Core, tenant: Tenant) -> None:
    """Neither an API key nor the operator's token opens it, and the public listener does not know its routes."""
    for what in ("accounts", "reservations", "keys", "plans"):
        path = f"/internal/{what}/load"
        for wrong in ("", tenant.sandbox.key, SECRETS["admin_token"], SECRETS["internal_secret"][:-1]):
            answer = await core.edge.http.post(path, headers={"authorization": f"Bearer {wrong}"}, json={})
            assert_problem(answer, Code.UNAUTHENTICATED)
        assert_problem(await core.client(SECRETS["internal_secret"]).post(path, {}), Code.NOT_FOUND)
        assert_problem(await core.edge.post(path, {"unknown": 1}), Code.UNKNOWN_FIELD, "unknown")


async def test_loading_a_key(core: Core, tenant: Tenant) -> None:
    """What the edge needs of it is put into Redis; an unknown one is remembered as that, for a while."""
    digest = core.parts.api_keys.digest(tenant.sandbox.key)
    answer = await core.edge.post("/internal/keys/load", {"digest": digest.hex()})
    assert (answer.status_code, answer.json()) == (200, {"status": "loaded"})
    record = decode_api_key(await core.parts.redis.client.get(keys.api_key(digest)))
    assert (record.environment_id, record.environment_kind) == (tenant.environment_id, "sandbox")
    assert "usage:write" in record.scopes
    unknown = bytes(32)
    answer = await core.edge.post("/internal/keys/load", {"digest": unknown.hex()})
    assert answer.json() == {"status": "unknown"}
    assert await core.parts.redis.client.get(keys.api_key(unknown)) == keys.UNKNOWN_KEY
    assert 0 < await core.parts.redis.client.ttl(keys.api_key(unknown)) <= 60
    assert_problem(await core.edge.post("/internal/keys/load", {"digest": "xyz"}), Code.INVALID_VALUE, "digest")


async def test_loading_an_account_and_its_plan(core: Core, tenant: Tenant) -> None:
    """What was lost from Redis comes back; who does not exist is unknown."""
    await tenant.sandbox.made("/v1/features", {"key": "f", "name": "F", "price": {"kind": "flat", "amount": 2}})
    await tenant.sandbox.made("/v1/customers", {"end_user_id": "u"})
    redis, environment_id = core.parts.redis, tenant.environment_id
    ref = keys.account_ref(keys.environment_ref(environment_id), "u")
    await redis.client.delete(keys.account(keys.partition_of(ref, PARTITIONS), ref))
    assert await redis.read_account(environment_id, "u") is None
    body = {"environment_id": str(environment_id), "end_user_id": "u"}
    assert (await core.edge.post("/internal/accounts/load", body | {"end_user_id": "v"})).json() == {
        "status": "unknown"
    }
    # Until a flusher has posted a partition's cursor nobody can say that nothing is under way there.
    await core.parts.database.run(None, lambda tx: tx.connection.execute("SELECT 1"))
    answer = await core.edge.post("/internal/accounts/load", body)
    assert answer.json()["status"] in {"loaded", "busy"}

    snapshot_id = await core.parts.database.run(
        environment_id, lambda tx: tx.connection.fetchval("SELECT snapshot_id FROM accounts")
    )
    body = {"environment_id": str(environment_id), "snapshot_id": snapshot_id}
    assert (await core.edge.post("/internal/plans/load", body)).json() == {"status": "loaded"}
    plan = decode_plan(await redis.client.get(keys.plan(snapshot_id)))
    assert (plan.environment_id, set(plan.features)) == (environment_id, {"f"})
    for other in (body | {"snapshot_id": "none"}, body | {"environment_id": str(uuid4())}):
        assert (await core.edge.post("/internal/plans/load", other)).json() == {"status": "unknown"}
