"""What a worker says of itself: whether it can work, and when it is about to go."""

import asyncio
import os
import signal

import pytest

from app.embedded.valkey import EmbeddedValkey
from edge.probing import Readiness, judge
from tests.edge.world import World, own_edge
from tests.waiting import wait_until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")

SECONDS = 15


@pytest.mark.parametrize(
    ("has_redis", "had_it_lately", "spool", "status"),
    [
        (True, True, "", "ready"),
        (True, True, "full", "degraded"),
        (False, True, "", "degraded"),
        (False, True, "full", "unavailable"),
        (False, False, "", "unavailable"),
        (False, False, "full", "unavailable"),
    ],
)
async def test_it_is_ready_while_it_can_take_usage_in(
    *, has_redis: bool, had_it_lately: bool, spool: str, status: str
) -> None:
    """By Redis, or by its spool for as long as it knows whose usage that is; every part that is not well says so."""
    judged = judge(has_redis=has_redis, had_it_lately=had_it_lately, spool=spool)
    parts = judged.parts if isinstance(judged, Readiness) else judged
    assert (judged.status if isinstance(judged, Readiness) else "unavailable") == status
    assert (parts["redis"].status == "ok") is has_redis
    assert parts["spool"].detail == spool
    assert all((part.status == "ok") is (part.detail == "") for part in parts.values())


async def test_without_a_spool_it_needs_redis(world: World, own_valkey: EmbeddedValkey) -> None:
    """An edge that may spool nothing is degraded from the start, and not ready once Redis is away; it lives on."""
    async with own_edge(world, own_valkey, workers=1, ready="degraded", SPOOL_MAX_BYTES="0") as own:
        os.kill(own_valkey.pid, signal.SIGKILL)

        async def is_noticed() -> bool:
            return (await own.send("GET", "/readyz")).status == 503

        await wait_until_async(is_noticed, SECONDS, "the loss is noticed")
        answer = await own.send("GET", "/readyz")
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.body["context"]["parts"]["redis"]["status"] == "failing"
        assert (await own.send("GET", "/livez")).status == 200


async def test_it_says_that_it_stops_and_serves_on(world: World, valkey: EmbeddedValkey) -> None:
    """For EDGE_STOP_DELAY_SECONDS after SIGTERM it answers on new connections too, while /readyz sends others away."""
    async with own_edge(world, valkey, workers=1, EDGE_STOP_DELAY_SECONDS="2") as own:
        tenant = await own.tenant()
        await tenant.seed("user_1", 100)
        os.kill(own.edge.pid, signal.SIGTERM)

        async def is_said() -> bool:
            return (await own.send("GET", "/readyz")).status == 503

        await wait_until_async(is_said, SECONDS, "the end to be announced")
        assert "stopping" in (await own.send("GET", "/readyz")).body["detail"]
        assert (await tenant.use("user_1")).status == 202
        assert own.edge.process is not None
        assert await asyncio.to_thread(own.edge.process.wait, SECONDS) == 0


async def test_pages_are_cores(world: World) -> None:
    """The `type` of a problem is a path of core: on the edge's own address it says whose."""
    problem = await world.send("GET", "/nothing")
    answer = await world.send("GET", problem.body["type"])
    assert (answer.status, answer.body["code"]) == (404, "not_found")
    assert answer.body["detail"].startswith("The pages are at /docs/errors of core's address")
