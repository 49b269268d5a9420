"""Ten thousand streams, good, spoilt and cut off, against running workers: they answer, and stay as they were."""

import asyncio
import re
import socket
import struct
from pathlib import Path

import pytest

from app.embedded.valkey import EmbeddedValkey
from edge.core_client import MAX_CONNECTIONS
from tests.edge.malformed import END_USER_ID, Delivery, Stream, make_stream
from tests.edge.raw_client import RawClient
from tests.edge.strict_answers import StrictAnswer, event_ids, read_answers
from tests.edge.world import Tenant, World, own_edge
from tests.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="session")

STREAMS = 10_000
AT_ONCE = 500
WARM_UP = 2_000
"""Streams after which buffers and caches have their size."""
BOUND_SECONDS = 10
"""From a client's end to the edge's; it takes milliseconds, but there are hundreds at once."""
PROMPT_SECONDS = 3
RSS_TOLERANCE_BYTES = 8 << 20
"""What a worker may have grown by after the warm-up: caches of names and queries go on filling up."""

REQUEST = re.compile(rb" (?:HTTP|RTSP)/1\.")
LISTENING = "0A"  # in /proc/net/tcp


class Run:
    """Streams under way, and what was acknowledged so far."""

    def __init__(self, port: int, tenant: Tenant, reset: Tenant) -> None:
        self._port = port
        self._tenant = tenant
        self._reset = reset
        self._release = asyncio.Event()
        self.acknowledged: list[str] = []
        self.statuses: dict[int, int] = {}

    async def play(self, numbers: range) -> None:
        """Send these streams at once; the stalled ones end when the others have ended."""
        self._release.clear()
        streams = [make_stream(number, self._tenant.key, self._reset.key) for number in numbers]
        running = [(stream, asyncio.create_task(self._play(stream))) for stream in streams]
        await asyncio.gather(*(task for stream, task in running if stream.delivery is not Delivery.STALLED))
        self._release.set()
        for number, (stream, task) in zip(numbers, running, strict=True):
            client = await task
            if stream.delivery is not Delivery.RESET:
                assert client.error is None, f"stream {number} was reset: {client.error!r}"
                self._note(stream, read_answers(client.received, may_be_heads=b"HEAD " in stream.sent), number)

    async def _play(self, stream: Stream) -> RawClient:
        loop = asyncio.get_running_loop()
        transport, client = await loop.create_connection(RawClient, "127.0.0.1", self._port)
        for piece in stream.pieces:
            if client.ended.is_set():
                break
            transport.write(piece)
            await asyncio.sleep(0)
        if stream.delivery is Delivery.RESET:
            at_once = struct.pack("ii", 1, 0)
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        else:
            if stream.delivery is Delivery.STALLED:
                await self._release.wait()
            if not client.lost.is_set():
                transport.write_eof()
            async with asyncio.timeout(BOUND_SECONDS):
                await client.ended.wait()
        transport.close()
        await client.lost.wait()
        return client

    def _note(self, stream: Stream, answers: list[StrictAnswer], number: int) -> None:
        """Raises AssertionError where there is an answer that the stream did not ask for."""
        sent = stream.sent
        acknowledged = [event_id for answer in answers for event_id in event_ids(answer)]
        assert all(answer.status < 500 for answer in answers), f"stream {number}: {answers}"
        requests = len(REQUEST.findall(sent))
        assert len([answer for answer in answers if answer.status < 300]) <= requests, f"stream {number}"
        assert len(answers) <= requests + 1, f"stream {number}"
        assert len(acknowledged) <= sent.count(b'"feature_key"'), f"stream {number}"
        self.acknowledged += acknowledged
        for answer in answers:
            self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1


def descriptors(pid: int) -> int:
    """How many a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def held_connections(port: int) -> int:
    """Connections at this local port that a process has; those that the kernel alone remembers have no inode."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    is_here = f":{port:04X}"
    return sum(line[1].endswith(is_here) and line[3] != LISTENING and line[9] != "0" for line in lines)


def rss_bytes(pid: int) -> int:
    """The memory that a process occupies."""
    found = re.search(r"^Rss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) << 10


async def test_streams(world: World, valkey: EmbeddedValkey, tmp_path: Path) -> None:
    """Bounded time, no 5xx, HTTP to the letter, no more answers than requests; recorded is what was acknowledged.

    Afterwards the same workers run, with as many descriptors as before and the same memory, and answer promptly.
    """
    log = tmp_path / "edge.log"
    async with own_edge(world, valkey, log) as own:
        tenant, reset = await own.tenant(), await own.tenant()
        for each in (tenant, reset):
            await each.seed(END_USER_ID, 1_000_000)
        workers = own.edge.worker_pids()
        open_before = {pid: descriptors(pid) for pid in workers}
        run, rss_before = Run(own.edge.port, tenant, reset), dict[int, int]()
        for start in range(0, STREAMS, AT_ONCE):
            if start == WARM_UP:
                rss_before = {pid: rss_bytes(pid) for pid in workers}
            await run.play(range(start, start + AT_ONCE))
        assert run.statuses[202] > STREAMS / 10, f"too few good requests: {run.statuses}"
        assert run.statuses[400] > STREAMS / 10, f"too few bad requests: {run.statuses}"

        recorded, of_resets = await tenant.recorded_ids(END_USER_ID), await reset.recorded_ids(END_USER_ID)
        assert len(set(recorded)) == len(recorded)
        assert set(recorded) == set(run.acknowledged)
        assert len(set(of_resets)) == len(of_resets) > 0

        assert own.edge.worker_pids() == workers
        await asyncio.to_thread(wait_for_hang_up, own.edge.port, open_before)
        grown = {pid: rss_bytes(pid) - rss_before[pid] for pid in workers}
        assert max(grown.values()) <= RSS_TOLERANCE_BYTES, grown
        async with asyncio.timeout(PROMPT_SECONDS):
            answer = await tenant.use(END_USER_ID, "lenient")
        assert answer.status == 202
    text = log.read_text()
    assert not re.findall(r"Traceback|\bERROR\b|\bWARNING\b.*", text), text


def wait_for_hang_up(port: int, open_before: dict[int, int]) -> None:
    """No worker holds a client's connection, or a descriptor more than it may have towards core."""
    may_be_open = {pid: count + MAX_CONNECTIONS for pid, count in open_before.items()}

    def is_done() -> bool:
        return not held_connections(port) and all(descriptors(pid) <= count for pid, count in may_be_open.items())

    wait_until(is_done, BOUND_SECONDS, f"all clients are gone, and at most {may_be_open} descriptors are open")
