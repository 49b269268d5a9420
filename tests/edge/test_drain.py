"""SIGTERM while everybody sends: what was taken in is answered, what is answered is recorded, nothing is cut off."""

import asyncio
import json
import signal
import time
from pathlib import Path

import pytest

from app.embedded.valkey import EmbeddedValkey
from edge.listener import DRAIN_SECONDS
from tests.edge.raw_client import RawClient
from tests.edge.strict_answers import event_ids, read_answers
from tests.edge.world import Tenant, World, own_edge
from tests.waiting import wait_until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")

CLIENTS = 60
BURST = 4
"""Requests that a client sends before it reads."""
BEGUN = 1_000
"""Acknowledgements before the signal."""
BEGUN_SECONDS = 20
ACKNOWLEDGED = b"HTTP/1.1 202 "


def usage(tenant: Tenant, key: str) -> bytes:
    """One event."""
    body = json.dumps({"end_user_id": "user_1", "feature_key": "lenient", "idempotency_key": key}).encode()
    return tenant.head("POST /v1/usage HTTP/1.1", f"Content-Length: {len(body)}") + body


def batch(tenant: Tenant, key: str) -> bytes:
    """Two events in one chunk."""
    events = [{"end_user_id": "user_1", "feature_key": "lenient", "idempotency_key": f"{key}{end}"} for end in "ab"]
    body = json.dumps({"events": events}).encode()
    return tenant.head("POST /v1/usage/batch HTTP/1.1", "Transfer-Encoding: chunked") + b"%x\r\n%b\r\n0\r\n\r\n" % (
        len(body),
        body,
    )


async def send_until_the_end(port: int, tenant: Tenant, number: int) -> RawClient:
    """Bursts on one connection, in two pieces that end anywhere, each after the answers to the one before."""
    transport, client = await asyncio.get_running_loop().create_connection(RawClient, "127.0.0.1", port)
    make, count = batch if number % 3 == 0 else usage, 0
    while await client.holds(ACKNOWLEDGED, count):
        requests = b"".join(make(tenant, f"{number}-{count + place}") for place in range(BURST))
        cut = (number * 37 + count * 11) % len(requests)
        transport.write(requests[:cut])
        await asyncio.sleep(0)
        transport.write(requests[cut:])
        count += BURST
    transport.close()
    await client.lost.wait()
    return client


async def test_sigterm_while_everybody_sends(world: World, valkey: EmbeddedValkey, tmp_path: Path) -> None:
    """Every answer is whole, recorded is exactly what was acknowledged; exit 0 before the bound."""
    log = tmp_path / "edge.log"
    async with own_edge(world, valkey, log) as own:
        tenant = await own.tenant()
        await tenant.seed("user_1", 1_000_000)
        sending = [asyncio.create_task(send_until_the_end(own.edge.port, tenant, number)) for number in range(CLIENTS)]

        async def has_begun() -> bool:
            return len(await tenant.entries("user_1")) > BEGUN

        await wait_until_async(has_begun, BEGUN_SECONDS, "usage is taken in")
        assert own.edge.process is not None
        own.edge.process.send_signal(signal.SIGTERM)
        told = time.monotonic()
        code = await asyncio.to_thread(own.edge.process.wait, 2 * DRAIN_SECONDS)
        assert (code, time.monotonic() - told < DRAIN_SECONDS) == (0, True)
        clients = await asyncio.gather(*sending)
        assert [client.error for client in clients if client.error] == []
        answers = [answer for client in clients for answer in read_answers(client.received, may_be_heads=False)]
        assert {answer.status for answer in answers} == {202}
        acknowledged = [event_id for answer in answers for event_id in event_ids(answer)]
        assert sorted(await tenant.recorded_ids("user_1")) == sorted(acknowledged)
    assert "Traceback" not in log.read_text()
