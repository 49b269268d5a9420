"""Drift in the running product: jobs finds it while clients go on, the doctor tells it, the page says how it ends."""

import json
from http import HTTPStatus
from pathlib import Path

import aiohttp

from app.doctor.examining import CHECKS, System, examine
from app.doctor.patient import Expected
from app.wire import keys
from tests.flow.stack import Stack, drained, open_session, running_stack
from tests.operations.clients import CUSTOMERS, GRANTED, Sender, events, subscribe
from tests.ports import free_port
from tests.waiting import wait_until_async

FOUND_SECONDS = 30
"""A walk through few accounts takes a round, and what it suspects is looked at in the next one again."""
MICRO = 1_000_000


async def drift_of(stack: Stack) -> str:
    """What the doctor says of drift."""
    [check] = [check for check in CHECKS if check.name == "drift"]
    expected = Expected("always", 1_000_000, "nowhere", "nowhere")
    system = System(stack.stores.database_url, stack.stores.redis_url, stack.agreement, expected, {})
    [diagnosis] = await examine(system, [check])
    return f"{diagnosis.verdict.status}: {diagnosis.verdict.seen}"


async def in_redis(stack: Stack, *command: object) -> None:
    """One command of somebody who has no business there."""
    redis = await stack.redis()
    await redis.client.execute_command(*command)
    await redis.close()


async def jobs_say(session: aiohttp.ClientSession, port: int, path: str) -> str:
    """What jobs answers to probes and collectors."""
    async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
        assert answer.status == HTTPStatus.OK
        return await answer.text()


async def test_an_edge_that_was_spoilt(tmp_path: Path) -> None:
    """It is told in the log, as a metric, by readiness and by the doctor; deleting the account's hash ends it."""
    port = free_port()
    async with running_stack(tmp_path, JOBS_METRICS_PORT=str(port)) as stack, open_session() as session:
        tenant = await stack.tenant(session)
        await subscribe(tenant)
        await Sender(tenant).send_all(events("usage", 4 * CUSTOMERS))
        await drained(tenant.core, "user_0")
        ref = keys.account_ref(keys.environment_ref(tenant.environment_id), "user_0")
        account = keys.account(keys.partition_of(ref, stack.agreement.partitions), ref)
        await in_redis(stack, "HINCRBY", account, "accepted", MICRO)
        await stack.stop("jobs")
        stack.start("jobs")

        async def is_found() -> bool:
            return (await drift_of(stack)).startswith("problem")

        await wait_until_async(is_found, FOUND_SECONDS, "drift to be found")
        assert "user_0" in await drift_of(stack)
        assert "account_adrift" in stack.roles["jobs"].log_path.read_text()
        assert "quotastack_drift_accounts 1.0" in await jobs_say(session, port, "/metrics")
        assert json.loads(await jobs_say(session, port, "/readyz"))["status"] == "degraded"
        await in_redis(stack, "DEL", account)

        async def is_over() -> bool:
            return (await drift_of(stack)).startswith("ok")

        await wait_until_async(is_over, FOUND_SECONDS, "drift to be over")
        used = sum(units for end_user, _, units in events("usage", 4 * CUSTOMERS) if end_user == "user_0")
        assert (await drained(tenant.core, "user_0"))["balance"] == GRANTED - used
        assert (await stack.verify()).findings == []
