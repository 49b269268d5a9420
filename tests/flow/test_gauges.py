"""Features of every kind through the whole product: set in a plan, asked at the edge, held, kept through a loss."""

import asyncio
import os
import re
from asyncio.subprocess import PIPE
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

from app.rules.moments import to_at
from app.wire import keys
from tests.flow.stack import Answer, Client, Tenant, open_session, running_stack
from tests.waiting import wait_until_async

USER = "u"
GUIDE = Path(__file__).parents[2] / "docs" / "features.md"


async def subscribe(core: Client) -> None:
    """A customer whose plan has ten seats and one switch; the feature by itself has two seats."""
    for key, kind, default in (("seats", "gauge", 2), ("sso", "boolean", False), ("models", "static", ["small"])):
        await core.created("/v1/features", {"key": key, "name": key, "kind": kind, "default_value": default})
    await core.created("/v1/plans", {"key": "team", "name": "Team"})
    features = [{"feature_key": "seats", "value": 10}, {"feature_key": "sso", "value": True}, {"feature_key": "models"}]
    variant = await core.created(
        "/v1/plans/team/variants", {"key": "monthly", "interval": "month", "features": features}
    )
    body = {"end_user_id": USER, "plan_variant_id": variant["plan_variant_id"]}
    await core.created("/v1/subscriptions", body)


async def acquire(client: Client, holder: str, end_user_id: str = USER, **more: Any) -> Answer:
    """One seat."""
    return await client.post("/v1/features/seats/acquire", {"end_user_id": end_user_id, "holder": holder, **more})


async def features_of(client: Client, end_user_id: str = USER) -> Any:
    """The listing's features."""

    async def answered() -> Any:
        answer = await client.get("/v1/entitlements", end_user_id=end_user_id)
        return answer.body["features"] if answer.status == 200 else None

    return await wait_until_async(answered, 30, "a listing")


async def test_features_of_every_kind(tenant: Tenant) -> None:
    """A plan's value beats the default, on both base URLs; without a subscription the defaults apply."""
    await subscribe(tenant.core)
    await tenant.core.created("/v1/customers", {"end_user_id": "free"})
    for client in (tenant.core, tenant.edge):
        found = await features_of(client)
        assert (found["seats"]["limit"], found["sso"]["value"], found["models"]["value"]) == (10, True, ["small"])
        free = await features_of(client, "free")
        assert (free["seats"]["limit"], free["sso"]["allowed"], free["models"]["allowed"]) == (2, False, True)
    answers = await asyncio.gather(*(acquire(tenant.edge, f"h{number}") for number in range(30)))
    assert Counter(answer.status for answer in answers) == {200: 10, 402: 20}
    assert (await acquire(tenant.core, "late")).body["context"] == {"limit": 10, "used": 10}


async def test_the_guide_can_be_pasted(tenant: Tenant) -> None:
    """The commands of docs/features.md, one after the other, answer what stands below them."""
    blocks = re.findall(r"```sh\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    variables = {"CORE": tenant.core.base_url, "EDGE": tenant.edge.base_url, "KEY": tenant.sandbox_key}
    shell = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", "".join(blocks)), stdout=PIPE, stderr=PIPE, env={**os.environ, **variables}
    )
    output, errors = await shell.communicate()
    assert (shell.returncode, errors) == (0, b"")
    shown = output.decode()
    for line in re.findall(r"^# (.*)$", "".join(blocks), re.MULTILINE):
        assert line in shown, (line, shown)
    assert "problem" not in shown


async def test_another_cap_counts_at_once(tenant: Tenant) -> None:
    """Once core has answered, every edge refuses by the new cap, and throws nobody out."""
    await subscribe(tenant.core)
    await tenant.core.created("/v1/customers", {"end_user_id": "free"})
    assert [(await acquire(tenant.edge, name, "free")).status for name in ("a", "b", "c")] == [200, 200, 402]
    lowered = await tenant.core.send("PATCH", "/v1/features/seats", json={"default_value": 1})
    assert lowered.status == 200
    assert [(await acquire(tenant.edge, name, "free")).status for name in ("a", "b", "c")] == [200, 200, 402]
    assert (await features_of(tenant.edge, "free"))["seats"]["used"] == 2
    await tenant.core.send("PATCH", "/v1/features/seats", json={"default_value": None})
    assert (await acquire(tenant.edge, "c", "free")).body["limit"] is None


async def test_what_is_held_outlives_redis(tmp_path: Path) -> None:
    """Redis emptied: everybody holds as before, with the same time, and no more fits than before."""
    async with running_stack(tmp_path) as stack, open_session() as session:
        tenant = await stack.tenant(session)
        await subscribe(tenant.core)
        for number in range(9):
            await acquire(tenant.edge, f"h{number}")
        ends = (await acquire(tenant.edge, "timed", ttl_seconds=3600)).body["expires_at"]
        body = {"end_user_id": USER, "holder": "h0"}
        assert (await tenant.edge.post("/v1/features/seats/release", body)).body["used"] == 9
        redis = await stack.redis()

        async def is_noted() -> bool:
            [account] = await redis.read_accounts_at_rest([(tenant.environment_id, USER)])
            return account is not None and account.quiet

        await wait_until_async(is_noted, 30, "the ledger to note who holds")
        await redis.client.flushall()
        assert (await features_of(tenant.edge))["seats"]["used"] == 9
        assert [(await acquire(tenant.edge, name)).status for name in ("h0", "one too many")] == [200, 402]
        ref = keys.account_ref(keys.environment_ref(tenant.environment_id), USER)
        due = keys.gauge_due(redis.partition(ref), ref)
        expected = [(b"seats\0timed", float(to_at(datetime.fromisoformat(ends))))]
        assert await redis.client.zrange(due, 0, -1, withscores=True) == expected
        await redis.close()
        assert (await stack.verify()).findings == []
