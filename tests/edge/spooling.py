"""An edge that spools, on a Redis that a test may kill; and what is spooled and taken in."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from msgspec import structs
from redis.asyncio import Redis

from app.embedded.valkey import EmbeddedValkey
from app.rules.credits import MICRO
from app.rules.pricing import PerUnitPrice, always
from app.wire.events import EntryKind, StreamEntry, parse_entry
from app.wire.ids import show
from app.wire.snapshot import FeatureTerms, PlanSnapshot
from tests.edge.world import PRICE_ID, EdgeProcess, StandInCore, Tenant, World
from tests.waiting import wait_until_async

SECONDS = 15


@asynccontextmanager
async def edge_on(redis_url: str, spool: Path, workers: int = 1, **more: str) -> AsyncIterator[World]:
    """An edge on that Redis with that spool."""
    core = StandInCore()
    await core.start()
    redis = Redis.from_url(redis_url, protocol=2)
    edge = EdgeProcess(redis_url, core.url, workers, SPOOL_DIRECTORY=str(spool), **more)
    edge.start(spool.parent / "edge.log")
    connector = aiohttp.TCPConnector(limit=0, force_close=workers > 1)
    try:
        async with aiohttp.ClientSession(connector=connector) as session:
            await edge.ready()
            yield World(redis, core, edge, session)
    finally:
        await redis.aclose()
        await core.stop()
        edge.stop()
        log = (spool.parent / "edge.log").read_text()
        assert "Traceback" not in log, log[log.find("Traceback") - 500 :][:5_000]


def dear_plan(tenant: Tenant) -> PlanSnapshot:
    """The usual plan, with a feature of which nobody can have much, and two that read a type of CloudEvents."""
    plan = tenant.plan(dear=FeatureTerms(always(PRICE_ID, PerUnitPrice(10**6 * MICRO)), included=True))
    return structs.replace(plan, event_types={"call": {"api_calls": "calls", "tokens": "tokens"}})


def is_spooled(answer: Any) -> bool:
    """Whether one event was acknowledged and is decided on later."""
    return answer.status == 202 and answer.body.get("durability") == "spooled"


async def spooled(tenant: Tenant, end_user_id: str = "user_1", **more: Any) -> str:
    """Send an event that is spooled; its id."""
    answer = await tenant.use(end_user_id, **more)
    assert is_spooled(answer), answer
    return answer.body["event_id"]


async def away(tenant: Tenant, valkey: EmbeddedValkey) -> None:
    """Kill the server, and wait until the edge has noticed."""
    os.kill(valkey.pid, signal.SIGKILL)

    async def is_noticed() -> bool:
        answer = await tenant.world.send("GET", "/readyz")
        return answer.status == 503 or answer.body["status"] == "degraded"

    await wait_until_async(is_noticed, SECONDS, "the loss is noticed")
    await tenant.world.redis.connection_pool.disconnect()


def files(spool: Path) -> list[Path]:
    """What is spooled."""
    return list(spool.iterdir())


async def is_empty(spool: Path) -> None:
    """Wait until nothing is spooled any more."""

    async def has_no_files() -> bool:
        return not files(spool)

    await wait_until_async(has_no_files, SECONDS, "the spool is empty")


async def read(tenant: Tenant, end_user_id: str = "user_1") -> list[StreamEntry]:
    """The customer's entries in the stream, ticks apart."""
    entries = [parse_entry(b"1-1", fields) for fields in await tenant.entries(end_user_id)]
    return [e for e in entries if isinstance(e, StreamEntry) and e.kind is not EntryKind.TICK]


async def event_ids(tenant: Tenant, end_user_id: str = "user_1") -> list[str]:
    """The customer's events in the order of the stream."""
    return [show("evt", entry.sent.event_id) for entry in await read(tenant, end_user_id) if entry.sent is not None]
