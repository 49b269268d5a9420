"""Core's probes and figures."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.embedded.valkey import EmbeddedValkey
from app.io.clock import FrozenClock
from app.io.lag import read_lag
from app.wire import keys
from tests.app.core import PARTITIONS, SECRETS, Core, Tenant, open_core
from tests.conftest import DatabaseUrls

TOKEN = "m" * 40


async def figures(core: Core) -> Mapping[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample of /metrics by name and labels."""
    answer = await core.operator.http.get("/metrics")
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_requests_are_counted_by_their_route(core: Core, tenant: Tenant) -> None:
    """The pattern of the path is the label; what was sent, and who sent it, is none."""
    route = {"route": "/v1/customers/{end_user_id}", "method": "GET"}
    counted = "quotastack_core_requests_total", frozenset({**route, "status": "4xx"}.items())
    before = await figures(core)
    for name in ("somebody-special", "another"):
        assert (await tenant.sandbox.get(f"/v1/customers/{name}")).status_code == 404
    after = await figures(core)
    assert after[counted] - before.get(counted, 0) == 2
    took = "quotastack_core_request_seconds_count", frozenset(route.items())
    assert after[took] - before.get(took, 0) == 2
    shown = (await core.operator.http.get("/metrics")).text
    secret = tenant.made["sandbox_environment_id"], tenant.made["sandbox_key"], "somebody-special"
    assert not [word for word in secret if word in shown]


async def test_what_no_route_takes_has_one_label(core: Core) -> None:
    """Whatever methods and paths a client invents, the figures do not grow."""

    async def invent(number: int) -> None:
        await core.operator.send("GET", f"/invented/{number}")
        await core.operator.send(f"BREW{number}", "/v1/features")

    await invent(0)
    before = await figures(core)
    for number in range(1, 20):
        await invent(number)
    assert (await figures(core)).keys() == before.keys()


async def test_figures_want_the_token(urls: DatabaseUrls, valkey: EmbeddedValkey) -> None:
    """Where METRICS_TOKEN is set, neither this machine nor the operator's token is enough."""
    async with open_core(urls, valkey.url, metrics_token=TOKEN) as core:
        for authorization in ("", f"Bearer {SECRETS['admin_token']}"):
            answer = await core.operator.http.get("/metrics", headers={"authorization": authorization})
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
        answer = await core.operator.http.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 200


async def test_ready(core: Core) -> None:
    """Every part says that it is well."""
    body = await core.operator.read("/readyz")
    assert body["status"] == "ready"
    assert body["parts"] == {name: {"status": "ok"} for name in ("postgres", "redis", "migrations", "flusher")}


async def test_a_missing_migration_is_named(core: Core, urls: DatabaseUrls) -> None:
    """Code that is newer than its schema takes no traffic."""
    connection = await asyncpg.connect(urls.owner)
    gone = await connection.fetchval(
        "DELETE FROM migration WHERE name = (SELECT max(name) FROM migration) RETURNING name"
    )
    await connection.close()
    answer = await core.operator.get("/readyz")
    assert answer.status_code == 503
    assert gone in answer.json()["context"]["parts"]["migrations"]["detail"]


async def test_another_agreement_is_not_ready(core: Core) -> None:
    """Where the data turn out to be of another installation, nothing may be decided by them."""
    before = await core.parts.redis.client.get(keys.AGREEMENT)
    await core.parts.redis.client.set(keys.AGREEMENT, "another")
    try:
        answer = await core.operator.get("/readyz")
    finally:
        await core.parts.redis.client.set(keys.AGREEMENT, before)
    assert answer.status_code == 503
    assert "PARTITIONS" in answer.json()["context"]["parts"]["redis"]["detail"]


async def test_usage_that_waits_degrades(urls: DatabaseUrls, valkey: EmbeddedValkey) -> None:
    """Beyond READY_MAX_FLUSH_LAG_SECONDS it is said, with what to do; core goes on, since it can do without."""
    in_an_hour = FrozenClock(datetime.now(UTC) + timedelta(hours=1))
    async with open_core(urls, valkey.url, clock=in_an_hour) as core:
        await core.parts.redis.client.xadd(keys.stream(0), {"k": "t"})
        try:
            answer = await core.operator.get("/readyz")
            assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
            detail = answer.json()["parts"]["flusher"]["detail"]
            assert re.fullmatch(r"Usage has waited 3[56]\d\d s to be posted; see whether a flusher runs, .*", detail)
            lag = (await figures(core))["quotastack_flush_lag_seconds", frozenset()]
            assert lag == pytest.approx(3600, abs=60)
        finally:
            await core.parts.redis.client.delete(keys.stream(0))


async def test_lag_is_of_what_is_not_published(core: Core) -> None:
    """The oldest entry behind the published cursor counts, in whichever partition it is; a trimmed stream has none."""
    redis, now = core.parts.redis, datetime.now(UTC)
    names = [keys.stream(partition) for partition in range(PARTITIONS)]
    now_ms = int(now.timestamp() * 1000)
    await redis.client.delete(*names)
    for number, age_ms in enumerate((500, 9_000, 3_000)):
        await redis.client.xadd(names[number], {"k": "t"}, id=f"{now_ms - age_ms}-0")
    try:
        lag = await read_lag(redis, now)
        assert (lag.milliseconds, lag.entries, lag.longest) == (9_000, 3, 1)
        await redis.client.hset(keys.meta(1), "published", f"{now_ms - 9_000}-0")
        assert (await read_lag(redis, now)).milliseconds == 3_000
        assert (await read_lag(redis, now - timedelta(hours=1))).milliseconds == 0
    finally:
        await redis.client.delete(*names)
        await redis.client.hdel(keys.meta(1), "published")
    assert (await read_lag(redis, now)).milliseconds == 0
