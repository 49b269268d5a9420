"""Stores that restart or lose their memory."""

from http import HTTPStatus
from pathlib import Path

from app.io.stream import StreamConnection
from tests.flow.stack import Stack, Tenant, drained, make_catalogue, open_session, running_stack
from tests.waiting import wait_until_async


async def spend(tenant: Tenant, key: str, units: int) -> None:
    """Record until acknowledged, as a client would who wants to know the cost: spooled usage has none yet."""
    body = {"end_user_id": "survivor", "feature_key": "api_calls", "units": units, "idempotency_key": key}

    async def is_acknowledged() -> bool:
        answer = await tenant.edge.post("/v1/usage", body)
        assert answer.status in {HTTPStatus.ACCEPTED, HTTPStatus.SERVICE_UNAVAILABLE}, answer.body
        return answer.status == HTTPStatus.ACCEPTED and "durability" not in answer.body

    await wait_until_async(is_acknowledged, 30, f"{key} to be acknowledged")


async def balance(tenant: Tenant) -> object:
    """What a check says, once there is an answer."""

    async def answer() -> object:
        found = await tenant.edge.get("/v1/entitlements/check", end_user_id="survivor", feature_key="api_calls")
        return found if found.status == HTTPStatus.OK else None

    return (await wait_until_async(answer, 30, "a check to answer")).body["balance"]  # type: ignore[attr-defined]


async def subscribe(tenant: Tenant) -> None:
    """A customer with 50,000 credits."""
    variant = await make_catalogue(tenant.core)
    await tenant.core.created("/v1/subscriptions", {"end_user_id": "survivor", "plan_variant_id": variant})


async def read_incarnations(stack: Stack) -> dict[int, object]:
    """The incarnation of every partition, as Redis has it."""
    connection = await StreamConnection.connect(stack.stores.redis_url, stack.agreement)
    memories = await connection.inspect(range(stack.agreement.partitions))
    await connection.close()
    return {partition: memory.incarnation for partition, memory in memories.items()}


async def test_redis_restarted_with_its_log(tmp_path: Path) -> None:
    """Nothing is lost and nothing is done twice; the incarnation stays."""
    async with running_stack(tmp_path) as stack, open_session() as session:
        tenant = await stack.tenant(session)
        await subscribe(tenant)
        await spend(tenant, "before", 10)
        await drained(tenant.core, "survivor")
        incarnations = await read_incarnations(stack)
        stack.valkey.stop()
        stack.valkey.start()
        await spend(tenant, "before", 10)
        await spend(tenant, "after", 5)
        assert await balance(tenant) == 50_000 - 15
        assert (await drained(tenant.core, "survivor"))["total"] == 50_000 - 15
        assert (await stack.verify()).findings == []
        assert await read_incarnations(stack) == incarnations


async def test_redis_emptied(tmp_path: Path) -> None:
    """Everything is loaded again from the ledger, keys and plans included, on demand."""
    async with running_stack(tmp_path) as stack, open_session() as session:
        tenant = await stack.tenant(session)
        await subscribe(tenant)
        await spend(tenant, "before", 10)
        assert (await drained(tenant.core, "survivor"))["total"] == 50_000 - 10
        redis = await stack.redis()
        await redis.client.flushall()
        await redis.close()
        await spend(tenant, "after", 5)
        assert await balance(tenant) == 50_000 - 15
        await spend(tenant, "before", 10)
        assert (await drained(tenant.core, "survivor"))["total"] == 50_000 - 15
        assert (await stack.verify()).findings == []


async def test_postgres_away_for_a_while(tmp_path: Path) -> None:
    """Loaded accounts go on without Postgres; what came in meanwhile is posted when it is back."""
    async with running_stack(tmp_path) as stack, open_session() as session:
        tenant = await stack.tenant(session)
        await subscribe(tenant)
        await spend(tenant, "before", 10)
        stack.postgres.stop()
        for number in range(20):
            await spend(tenant, f"meanwhile-{number}", 1)
        assert await balance(tenant) == 50_000 - 30
        stack.postgres.start()
        assert (await drained(tenant.core, "survivor"))["total"] == 50_000 - 30
        assert (await stack.verify()).findings == []
