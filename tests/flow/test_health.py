"""The four processes as a probe and a collector see them: each says that it is well, and what it did."""

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.flow.stack import Stack, Tenant, drained, make_catalogue
from tests.waiting import wait_until_async

PARTITIONS = 64
TASKS = {"ticks", "sweeps", "reloads", "enrolments", "checkpoints", "partitions", "holds"}
PARTS = {
    "core": {"postgres", "redis", "migrations", "flusher"},
    "edge": {"redis", "spool"},
    "flusher": {"turns"},
    "jobs": {"postgres", "redis", "drift"},
}


async def figures(session: aiohttp.ClientSession, stack: Stack, role: str) -> dict[tuple[str, ...], float]:
    """Every sample of a process, by name and values of labels in the order of their names."""
    async with session.get(f"{stack.probed()[role]}/metrics") as answer:
        text = await answer.text()
    assert answer.status == 200, text
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.parametrize("role", PARTS)
async def test_each_process_says_that_it_is_well(stack: Stack, session: aiohttp.ClientSession, role: str) -> None:
    """Part by part; and it lives."""
    async with session.get(f"{stack.probed()[role]}/readyz") as answer:
        body = await answer.json()
    assert (answer.status, body["status"]) == (200, "ready"), body
    assert body["parts"] == {name: {"status": "ok"} for name in PARTS[role]}
    async with session.get(f"{stack.probed()[role]}/livez") as answer:
        assert await answer.json() == {"status": "alive"}


async def test_usage_is_counted_all_the_way(stack: Stack, tenant: Tenant, session: aiohttp.ClientSession) -> None:
    """By the edge that takes it, by the flusher that posts it; once posted, nothing waits any more."""
    variant = await make_catalogue(tenant.core)
    await tenant.core.created("/v1/subscriptions", {"end_user_id": "counted", "plan_variant_id": variant})
    roles = ("core", "edge", "flusher")
    before = {role: await figures(session, stack, role) for role in roles}
    for number in range(7):
        body = {"end_user_id": "counted", "feature_key": "api_calls", "idempotency_key": str(number)}
        assert (await tenant.edge.post("/v1/usage", body)).status == 202
    await drained(tenant.core, "counted")
    after = {role: await figures(session, stack, role) for role in roles}

    def grown(role: str, *name: str) -> float:
        return after[role].get(name, 0) - before[role].get(name, 0)

    assert grown("edge", "quotastack_edge_usage_total", "accepted") == 7
    assert grown("flusher", "quotastack_flusher_entries_total") >= 7
    assert grown("flusher", "quotastack_flusher_batch_seconds_count") >= 1
    assert grown("flusher", "quotastack_flusher_publish_seconds_count") >= 1
    route = "/v1/customers/{end_user_id}/credits"
    assert grown("core", "quotastack_core_requests_total", "GET", route, "2xx") >= 1
    assert after["flusher"]["quotastack_flusher_leases",] == PARTITIONS
    for role in ("core", "flusher"):
        assert 0 <= after[role]["quotastack_flush_lag_seconds",] < 30
        assert after[role]["quotastack_stream_entries",] >= 7


async def test_rounds_are_counted(stack: Stack, session: aiohttp.ClientSession) -> None:
    """Each task of jobs has its first round soon, and no round fails."""

    async def all_had_a_round() -> dict[tuple[str, ...], float] | None:
        found = await figures(session, stack, "jobs")
        tasks = {name[1] for name in found if name[0] == "quotastack_jobs_last_success_timestamp_seconds"}
        return found if tasks >= TASKS else None

    found = await wait_until_async(all_had_a_round, 30, "a round of each task")
    assert not [name for name, value in found.items() if name[0] == "quotastack_jobs_round_failures_total" and value]
