"""Requests that one reader might end elsewhere than another: refused, and nothing after them is read.

Each row of the table is sent to a running edge between two good requests, and to a connection in pieces of one byte.
"""

import json
import re

import pytest

from tests.edge.framing_cases import ANSWERED, LIVE, OFFER, REFUSED, Case, get, head, hosted, line
from tests.edge.hand_made import Host, Transport, connect
from tests.edge.world import Wire, World

on_the_shared_loop = pytest.mark.asyncio(loop_scope="session")


@on_the_shared_loop
@pytest.mark.parametrize("case", REFUSED, ids=[case.name for case in REFUSED])
async def test_refused(world: World, case: Case) -> None:
    """One problem that says what to do, after the answers to what came before; then the connection's end."""
    wire = await Wire.open(world.edge.port)
    wire.send(LIVE + case.sent + LIVE)
    assert (await wire.answer()).status == 200
    answer = await wire.answer()
    assert (answer.status, answer.body["code"]) == case.refusal
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Connection"] == "close"
    assert ";" in answer.body["detail"], "first what is wrong, then what to do"
    assert await wire.is_closed()
    await wire.close()


@on_the_shared_loop
@pytest.mark.parametrize(("sent", "status"), [row[1:] for row in ANSWERED], ids=[row[0] for row in ANSWERED])
async def test_answered(world: World, sent: bytes, status: int) -> None:
    """What HTTP allows is one request, and what comes after it another."""
    wire = await Wire.open(world.edge.port)
    wire.send(sent + line(b"/after"))
    count = sent.count(b"/1.1\r\n") + sent.count(b"/1.0\r\n")
    assert [(await wire.answer()).status for _ in range(count)] == [status] * count
    assert (await wire.answer()).body["detail"].startswith("There is nothing at /after")
    await wire.close()


@on_the_shared_loop
@pytest.mark.parametrize(
    "sent",
    [
        get(b"Connection: close, Upgrade", b"Upgrade: h2c"),
        hosted(*OFFER, version=b"1.0"),
        hosted(version=b"1.0"),
        head(b"GET /livez HTTP/1.0"),
    ],
)
async def test_answered_and_closed(world: World, sent: bytes) -> None:
    """Who asks for an end, or speaks HTTP/1.0, gets one, whatever else is offered."""
    wire = await Wire.open(world.edge.port)
    wire.send(sent + LIVE)
    answer = await wire.answer()
    assert (answer.status, answer.headers["Connection"]) == (200, "close")
    assert await wire.is_closed()
    await wire.close()


@on_the_shared_loop
async def test_http_1_0_is_not_told_to_continue(world: World) -> None:
    """RFC 9110, 10.1.1: with a Host or without, it would not understand."""
    wire = await Wire.open(world.edge.port)
    wire.send(head(b"POST /v1/usage HTTP/1.0", b"Expect: 100-continue", b"Content-Length: 2") + b"{}")
    assert (await wire.answer()).status == 401
    await wire.close()


@on_the_shared_loop
async def test_a_refusal_of_head_has_no_body(world: World) -> None:
    """Once the method is known."""
    wire = await Wire.open(world.edge.port)
    wire.send(b"HEAD /livez HTTP/1.1\r\nHost: a b\r\nX-Request-Id: mine\r\n\r\n")
    answer = await wire.answer(has_body=False)
    assert (answer.status, answer.headers["X-Request-Id"]) == (400, "mine")
    assert await wire.is_closed()
    await wire.close()


def answers_to(sent: bytes, piece_bytes: int) -> list[tuple[int, str]]:
    """Statuses and details that a connection gives to these bytes, cut so."""
    host, transport = Host(), Transport()
    connection = connect(host, transport)
    for start in range(0, len(sent), piece_bytes):
        connection.data_received(sent[start : start + piece_bytes])
    for exchange in host.exchanges:
        exchange.respond(200, b'{"detail":""}')
    statuses = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", transport.written)]
    details = [json.loads(text)["detail"] for text in re.findall(rb"\r\n\r\n(\{.*?\})(?=HTTP|$)", transport.written)]
    return list(zip(statuses, details, strict=True))


@pytest.mark.parametrize("case", REFUSED, ids=[case.name for case in REFUSED])
def test_however_it_is_cut(case: Case) -> None:
    """In one piece or byte by byte, the same is said of it."""
    assert answers_to(case.sent, 1)[:1] == answers_to(case.sent, len(case.sent))[:1]
