"""Clients that read late or never: they hold up nobody else, and who reads at last gets everything."""

import asyncio
import json
import re
import socket
from pathlib import Path

import pytest

from app.embedded.valkey import EmbeddedValkey
from edge.decoding import MAX_BATCH_EVENTS
from tests.edge.strict_answers import event_ids, read_answers
from tests.edge.world import Tenant, World, own_edge
from tests.waiting import wait_until, wait_until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")

BATCHES = 30
"""Their answers are several times what the sockets of both sides hold."""
SMALL_BUFFER_BYTES = 4096
SECONDS = 20


def batches(tenant: Tenant) -> bytes:
    """Many large batches, one after the other."""
    event = {"end_user_id": "user_1", "feature_key": "lenient"}
    body = json.dumps({"events": [event] * MAX_BATCH_EVENTS}).encode()
    return (tenant.head("POST /v1/usage/batch HTTP/1.1", f"Content-Length: {len(body)}") + body) * BATCHES


def send_and_wait(port: int, sent: bytes, log: Path) -> bytes:
    """Send everything, say so, and only then begin to read."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
        client.settimeout(SECONDS)
        client.connect(("127.0.0.1", port))
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        wait_until(lambda: unread(client) > SMALL_BUFFER_BYTES // 2, SECONDS, "answers have come")
        received = bytearray()
        while piece := client.recv(1 << 16):
            received += piece
        assert "Traceback" not in log.read_text(), log.read_text()
        return bytes(received)


def unread(client: socket.socket) -> int:
    """Bytes that have come, as far as they can be looked at."""
    return len(client.recv(SMALL_BUFFER_BYTES, socket.MSG_PEEK))


async def test_a_client_that_reads_late(world: World, valkey: EmbeddedValkey, tmp_path: Path) -> None:
    """It has said that it sends no more before it reads the first answer: it gets all of them, and then the end."""
    log = tmp_path / "edge.log"
    async with own_edge(world, valkey, log) as own:
        tenant = await own.tenant()
        await tenant.seed("user_1", 1_000_000)
        received = await asyncio.to_thread(send_and_wait, own.edge.port, batches(tenant), log)
        answers = read_answers(received, may_be_heads=False)
        assert [answer.status for answer in answers] == [202] * BATCHES
        acknowledged = [event_id for answer in answers for event_id in event_ids(answer)]

        async def are_recorded() -> bool:  # in a moment, where Redis was too slow and some were spooled
            return sorted(await tenant.recorded_ids("user_1")) == sorted(acknowledged)

        await wait_until_async(are_recorded, SECONDS, "what was acknowledged is recorded, once")
    assert not re.findall(r'Traceback|"level":"error"', log.read_text()), log.read_text()
