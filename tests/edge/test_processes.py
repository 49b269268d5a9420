"""The edge's processes: workers that die, a parent that dies, an orderly end, a port that is taken."""

import asyncio
import os
import signal
import socket
from pathlib import Path

import aiohttp
import pytest

from app.embedded.valkey import EmbeddedValkey
from edge.listener import MORE_DESCRIPTORS
from edge.worker import EX_CONFIG
from tests.edge.world import EdgeProcess, StandInCore, Wire, World, is_gone, own_edge, wait_gone
from tests.waiting import wait_until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")

RECOVERY_SECONDS = 15


async def test_a_killed_worker_is_replaced(world: World, valkey: EmbeddedValkey) -> None:
    """While one is away the other serves; soon there are two again."""
    async with own_edge(world, valkey) as own:
        tenant = await own.tenant()
        await tenant.seed("user_1", 1000)
        victim, other = own.edge.worker_pids()
        os.kill(victim, signal.SIGKILL)
        wait_gone(victim)

        async def serves() -> bool:
            try:
                return (await tenant.use("user_1")).status == 202
            except aiohttp.ClientError:  # it was on its way to the worker that died
                return False

        await wait_until_async(serves, RECOVERY_SECONDS, "the other worker serves")

        async def are_two() -> bool:
            pids = own.edge.worker_pids()
            return len(pids) == 2 and victim not in pids and other in pids

        await wait_until_async(are_two, RECOVERY_SECONDS, "the worker is replaced")
        await own.edge.ready()


async def test_workers_die_with_their_parent_and_the_port_is_free(world: World, valkey: EmbeddedValkey) -> None:
    """Kill -9 of the parent ends every worker, and a successor can have the port at once."""
    async with own_edge(world, valkey) as own:
        workers = own.edge.worker_pids()
        os.kill(own.edge.pid, signal.SIGKILL)
        for pid in (own.edge.pid, *workers):
            wait_gone(pid)
        with socket.create_server(("127.0.0.1", own.edge.port)):
            pass


async def test_sigterm_answers_what_is_under_way(world: World, valkey: EmbeddedValkey) -> None:
    """A request that waits is answered, one that is half there is read to its end, idle clients are let go; exit 0."""
    async with own_edge(world, valkey) as own:
        tenant = await own.tenant()
        await tenant.seed("user_2", 1000)
        released = asyncio.Event()

        async def load(_: object) -> str:
            await released.wait()
            await tenant.seed("user_1", 1000)
            return "loaded"

        own.core.answers["accounts"] = load
        idle, half, waiting = [await Wire.open(own.edge.port) for _ in range(3)]
        idle.send(b"GET /livez HTTP/1.1\r\nHost: edge\r\n\r\n")
        assert (await idle.answer()).status == 200
        head = tenant.head("GET /v1/entitlements/check?end_user_id=user_2&feature_key=api_calls HTTP/1.1")
        half.send(b"GET /livez HTTP/1.1\r\nHost: edge\r\n\r\n" + head[:40])
        assert (await half.answer()).status == 200
        waiting.send(tenant.head("GET /v1/entitlements/check?end_user_id=user_1&feature_key=api_calls HTTP/1.1"))
        await wait_until_async(lambda: _is_asked(own.core), RECOVERY_SECONDS, "core is asked")

        assert own.edge.process is not None
        own.edge.process.send_signal(signal.SIGTERM)
        assert await idle.is_closed()
        half.send(head[40:])
        answer = await half.answer()
        assert (answer.body["balance"], answer.headers["Connection"]) == (1000, "close")
        released.set()
        answer = await waiting.answer()
        assert (answer.body["balance"], answer.headers["Connection"]) == (1000, "close")
        for wire in (idle, half, waiting):
            await wire.close()
        assert await asyncio.to_thread(own.edge.process.wait, RECOVERY_SECONDS) == 0


async def _is_asked(core: StandInCore) -> bool:
    return bool(core.asked)


async def test_sigterm_under_load_drops_nothing_that_was_taken_in(world: World, valkey: EmbeddedValkey) -> None:
    """Every acknowledgement has its entry, and every request on an open connection its answer or a clean end."""
    async with own_edge(world, valkey) as own:
        tenant = await own.tenant()
        await tenant.seed("user_1", 1_000_000)
        acknowledged = 0

        async def client() -> None:
            nonlocal acknowledged
            wire = await Wire.open(own.edge.port)
            body = b'{"end_user_id":"user_1","feature_key":"lenient"}'
            request = tenant.head("POST /v1/usage HTTP/1.1", f"Content-Length: {len(body)}") + body
            try:
                while True:
                    wire.send(request)
                    assert (await wire.answer()).status == 202
                    acknowledged += 1
            except (asyncio.IncompleteReadError, ConnectionError):
                await wire.close()

        clients = [asyncio.create_task(client()) for _ in range(20)]

        async def has_begun() -> bool:
            return acknowledged > 200

        await wait_until_async(has_begun, RECOVERY_SECONDS, "usage is taken in")
        assert await asyncio.to_thread(own.edge.stop) == 0
        await asyncio.gather(*clients)
        entries = len(await tenant.entries("user_1"))
        assert acknowledged <= entries <= acknowledged + len(clients)


async def test_more_clients_than_files_may_be_open(world: World, valkey: EmbeddedValkey, tmp_path: Path) -> None:
    """Who is too many is turned away; who is there is served, with Redis and core at hand; and room comes back."""
    room, log = 10, tmp_path / "edge.log"
    edge = EdgeProcess(valkey.url, world.core.url)
    edge.start(log, open_files=MORE_DESCRIPTORS + room)
    await edge.ready()
    try:
        tenant = await World(world.redis, world.core, edge, world.session).tenant()
        await tenant.seed("user_1", 10)
        request = tenant.head("GET /v1/entitlements/check?end_user_id=user_1&feature_key=api_calls HTTP/1.1")
        clients = [await Wire.open(edge.port) for _ in range(4 * room)]

        async def is_served(wire: Wire) -> bool:
            wire.send(request)
            try:
                return (await wire.answer()).body["balance"] == 10
            except (asyncio.IncompleteReadError, ConnectionError):
                return False

        assert sum([await is_served(wire) for wire in clients]) == room
        for wire in clients:
            await wire.close()

        async def has_room() -> bool:
            wire = await Wire.open(edge.port)
            served = await is_served(wire)
            await wire.close()
            return served

        await wait_until_async(has_room, RECOVERY_SECONDS, "a client is served again")
    finally:
        assert await asyncio.to_thread(edge.stop) == 0
    assert f"{MORE_DESCRIPTORS + room} open files are allowed: at most {room} clients" in log.read_text()


async def test_a_port_that_is_taken(world: World, valkey: EmbeddedValkey, tmp_path: Path) -> None:
    """One line that says so, and an exit code; the edge that has the port is not disturbed."""
    log = tmp_path / "edge.log"
    second = EdgeProcess(valkey.url, world.core.url)
    second.port = world.edge.port
    second.environment["EDGE_PORT"] = str(world.edge.port)
    second.start(log)
    assert second.process is not None
    assert await asyncio.to_thread(second.process.wait, RECOVERY_SECONDS) == os.EX_UNAVAILABLE
    assert "cannot listen" in log.read_text()
    assert (await world.send("GET", "/readyz")).status == 200


async def test_settings_are_checked_at_the_start(tmp_path: Path) -> None:
    """Everything that is wrong is named at once; no secret is shown."""
    log = tmp_path / "edge.log"
    edge = EdgeProcess("http://nowhere", "core", KEY_PEPPER="too short", EDGE_WORKERS="none")
    edge.start(log)
    assert edge.process is not None
    assert await asyncio.to_thread(edge.process.wait, RECOVERY_SECONDS) == EX_CONFIG
    text = log.read_text()
    assert text.startswith("edge: cannot start\n")
    for name in ("REDIS_URL", "CORE_INTERNAL_URL", "KEY_PEPPER", "EDGE_WORKERS"):
        assert f"\n{name}: " in text
    assert "too short" not in text
    assert "Traceback" not in text
    assert is_gone(edge.pid)


@pytest.mark.parametrize("url", ["redis://localhost:port", "redis://localhost?no_such=1", "unix:///x?db=y"])
async def test_a_redis_address_that_cannot_be_read(tmp_path: Path, url: str) -> None:
    """Named in one line, and not tried again."""
    log = tmp_path / "edge.log"
    edge = EdgeProcess(url, "http://127.0.0.1:1")
    edge.start(log)
    assert edge.process is not None
    assert await asyncio.to_thread(edge.process.wait, RECOVERY_SECONDS) == EX_CONFIG
    assert "cannot run: REDIS_URL: " in log.read_text()
    assert "Traceback" not in log.read_text()
