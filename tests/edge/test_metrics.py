"""The edge's figures: any worker tells what all of them count, also those that have died."""

import os
import signal
import time
import timeit
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.embedded.valkey import EmbeddedValkey
from edge import metrics, observing, recording, redis_link
from edge.exchange import Exchange, Line
from edge.spool import Spool
from tests.edge.world import Wire, World, own_edge, wait_gone
from tests.waiting import wait_until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOKEN = "m" * 40
SECONDS = 15
Figures = Mapping[tuple[str, ...], float]


async def read(world: World) -> Figures:
    """Every sample, by name and the values of its labels in the order of their names."""
    answer = await world.send("GET", "/metrics")
    assert answer.status == 200, answer.raw
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.raw.decode())
        for sample in family.samples
    }


async def grown(world: World, before: Figures, *names: tuple[str, ...]) -> list[float]:
    """By how much these figures have grown."""
    after = await read(world)
    return [after.get(name, 0) - before.get(name, 0) for name in names]


async def test_answers_are_counted_by_route_and_outcome(world: World) -> None:
    """Each once, under the pattern of its route, its status and what was decided."""
    tenant = await world.tenant()
    await tenant.seed("somebody-special", 5)
    before = await read(world)
    assert (await tenant.use("somebody-special", idempotency_key="k")).status == 202
    assert (await tenant.use("somebody-special", idempotency_key="k")).status == 202
    assert (await tenant.use("somebody-special", units=100, enforce=True)).status == 402
    assert (await tenant.use("somebody-special", "nothing")).status == 404
    assert (await tenant.check("somebody-special")).body["allowed"]
    assert not (await tenant.check("somebody-special", units=100)).body["allowed"]
    assert (await tenant.show("rsv_nothing")).status == 404
    assert await grown(
        world,
        before,
        ("quotastack_edge_requests_total", "POST", "/v1/usage", "2xx"),
        ("quotastack_edge_requests_total", "POST", "/v1/usage", "4xx"),
        ("quotastack_edge_request_seconds_count", "POST", "/v1/usage"),
        ("quotastack_edge_requests_total", "GET", "/v1/reservations/{id}", "4xx"),
        ("quotastack_edge_usage_total", "accepted"),
        ("quotastack_edge_usage_total", "replayed"),
        ("quotastack_edge_usage_total", "insufficient_credits"),
        ("quotastack_edge_usage_total", "unknown_feature"),
        ("quotastack_edge_refusals_total", "insufficient_credits"),
        ("quotastack_edge_checks_total", "allowed"),
        ("quotastack_edge_checks_total", "insufficient_credits"),
    ) == [2, 2, 4, 1, 1, 1, 1, 1, 1, 1, 1]
    shown = (await world.send("GET", "/metrics")).raw.decode()
    assert not [word for word in ("somebody-special", tenant.key, "nothing") if word in shown]


async def test_what_is_no_request_is_counted_without_a_time(world: World) -> None:
    """Nor does it matter what it names: the figures do not grow by what clients invent."""
    before = await read(world)
    for path in ("/invented/1", "/invented/2"):
        assert (await world.send("GET", path)).status == 404
    wire = await Wire.open(world.edge.port)
    wire.send(b"BREW\x01 / HTTP/1.1\r\n\r\n")
    assert (await wire.answer()).status == 400
    await wire.close()
    none = ("none", "none")
    names = ("quotastack_edge_requests_total", *none, "4xx"), ("quotastack_edge_request_seconds_count", *none)
    assert await grown(world, before, *names) == [3, 2]
    assert {name[1:] for name in await read(world) if "invented" in str(name)} == set()


async def test_the_sum_survives_a_worker(world: World, valkey: EmbeddedValkey) -> None:
    """What a worker has counted is told by the others, and by its successor, after kill -9: no figure falls."""
    async with own_edge(world, valkey) as own:
        tenant = await own.tenant()
        await tenant.seed("user_1", 1000)
        for _ in range(40):
            assert (await tenant.check("user_1")).status == 200
        before = await read(own)
        counted = "quotastack_edge_checks_total", "allowed"
        assert before[counted] == 40
        assert before["quotastack_edge_worker_starts_total",] == 2
        victims = own.edge.worker_pids()
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
            wait_gone(victim)

        async def are_new() -> bool:
            return len(own.edge.worker_pids()) == 2

        await wait_until_async(are_new, SECONDS, "the workers to be replaced")
        await own.edge.ready()
        after = await read(own)
        assert after["quotastack_edge_worker_starts_total",] == 4
        assert after[counted] == 40
        gauges = {name for name, *_ in before if name.endswith(("_connections", "_bytes", "_customers"))}
        assert not [name for name in before if name[0] not in gauges and after.get(name, 0) < before[name]]


async def test_redis_is_timed(world: World) -> None:
    """Every answered command counts; of those of one write one is timed."""
    tenant = await world.tenant()
    await tenant.seed("user_1", 1000)
    before = await read(world)
    for _ in range(10):
        await tenant.use("user_1")
    commands, timed = await grown(
        world, before, ("quotastack_edge_redis_commands_total",), ("quotastack_edge_redis_seconds_count",)
    )
    assert 10 <= timed <= commands


async def test_connections_are_told(world: World, valkey: EmbeddedValkey) -> None:
    """As of the last second, of both workers together."""
    async with own_edge(world, valkey) as own:
        wires = [await Wire.open(own.edge.port) for _ in range(7)]

        async def are_told() -> bool:
            return (await read(own))["quotastack_edge_connections",] >= 7

        await wait_until_async(are_told, SECONDS, "seven clients to be told")
        for wire in wires:
            await wire.close()


async def test_figures_want_the_token(world: World, valkey: EmbeddedValkey) -> None:
    """Where METRICS_TOKEN is set this machine is not enough; without it nobody is let in who comes through a proxy."""
    refused = await world.send("GET", "/metrics", headers={"X-Forwarded-For": "1.2.3.4"})
    assert (refused.status, refused.body["code"]) == (401, "unauthenticated")
    async with own_edge(world, valkey, METRICS_TOKEN=TOKEN) as own:
        assert (await own.send("GET", "/metrics")).status == 401
        assert (await own.send("GET", "/metrics", headers={"Authorization": f"Bearer {TOKEN}"})).status == 200


async def test_counting_costs_a_request_little() -> None:
    """Less than 2 µs of this process' own time: reading the clock, its route, its status, its outcome, its command."""
    observer = observing.Observer(Spool(Path("nowhere"), 0), "errors")
    exchange = Exchange(cast("Line", None), b"POST", b"/v1/usage", {})
    exchange.label = ("POST", "/v1/usage")

    def count() -> None:
        exchange.began_at = time.monotonic_ns()
        observer.answered(exchange, 202)
        recording._USAGE.add(recording._SPOOLED_ROW)  # noqa: SLF001 - what one request does
        redis_link._SECONDS.observe(redis_link._SECONDS_ROW, (time.monotonic_ns() - exchange.began_at) // 1000)  # noqa: SLF001
        redis_link._COMMANDS.add(redis_link._COMMANDS_ROW)  # noqa: SLF001

    runs = timeit.repeat(count, number=10_000, repeat=10, timer=time.process_time)
    assert min(runs) / 10_000 < 2e-6


async def test_a_histogram_counts_each_once() -> None:
    """Buckets rise, the last one is the count, and the sum is in seconds; a bucket holds its upper end."""
    histogram = observing._SECONDS  # noqa: SLF001 - any histogram will do, and no other may be made any more
    row = histogram.row("GET", "/livez")
    for microseconds in (0, 100, 101, 2_500_000, 9_000_000):
        histogram.observe(row, microseconds)
    lines = [line for line in metrics.exposition().decode().splitlines() if '"/livez"' in line]
    figures = [float(line.rpartition(" ")[2]) for line in lines]
    assert (figures[0], figures[1], figures[-3], figures[-1]) == (2, 3, 5, 5)
    assert figures[-2] == pytest.approx(11.500201)
    assert figures[:-2] == sorted(figures[:-2])
