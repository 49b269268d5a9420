"""HTTP as such: framing, bounds, order of answers, what closes a connection and what keeps it."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from edge.http_faults import MAX_HEAD_BYTES
from edge.listener import MAX_BODY_BYTES
from edge.routes import MAX_BATCH_BYTES
from edge.server import MAX_IN_FLIGHT
from tests.edge.world import Tenant, Wire, World

pytestmark = pytest.mark.asyncio(loop_scope="session")

LIVE = b"GET /livez HTTP/1.1\r\nHost: edge\r\n\r\n"


@pytest_asyncio.fixture(loop_scope="session")
async def wire(world: World) -> AsyncIterator[Wire]:
    """One connection."""
    wire = await Wire.open(world.edge.port)
    yield wire
    await wire.close()


async def closes_after(wire: Wire, status: int, code: str) -> None:
    """The next answer is this problem, says that it is the last, and is."""
    answer = await wire.answer()
    assert (answer.status, answer.body["code"]) == (status, code)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Connection"] == "close"
    assert await wire.is_closed()
    await wire.close()


# ---- routes


async def test_probes(world: World) -> None:
    """Alive and ready, without a key."""
    alive, ready = await world.send("GET", "/livez"), await world.send("GET", "/readyz")
    assert (alive.status, alive.body) == (200, {"status": "alive"})
    parts = {"redis": {"status": "ok"}, "spool": {"status": "ok"}}
    assert (ready.status, ready.body) == (200, {"status": "ready", "parts": parts})


@pytest.mark.parametrize("path", ["/", "/v1/usage/", "/v1/usage%2Fbatch", "/v1", "/favicon.ico", "/metrics/", "/..%2f"])
async def test_nothing_is_there(world: World, path: str) -> None:
    """404, as a problem document."""
    answer = await world.send("GET", path)
    assert (answer.status, answer.body["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/entitlements/check", "GET, POST, HEAD"),
        ("POST", "/v1/entitlements", "GET, HEAD"),
        ("GET", "/v1/usage", "POST"),
        ("HEAD", "/v1/usage", "POST"),
        ("PUT", "/v1/usage/batch", "POST"),
        ("DELETE", "/livez", "GET, HEAD"),
        ("OPTIONS", "/v1/usage", "POST"),
    ],
)
async def test_other_methods(world: World, method: str, path: str, allowed: str) -> None:
    """405 that names what is allowed."""
    answer = await world.send(method, path)
    assert answer.status == 405
    assert answer.headers["Allow"] == allowed
    assert method == "HEAD" or answer.body["code"] == "method_not_allowed"


async def test_problem_documents_have_their_members(world: World) -> None:
    """RFC 9457, with a code, and the request id as instance."""
    answer = await world.send("GET", "/nowhere", headers={"X-Request-Id": "call 7"})
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.body == {
        "type": "/docs/errors#not_found",
        "title": "There is nothing here",
        "status": 404,
        "detail": "There is nothing at /nowhere; core's /docs/api says what there is.",
        "instance": "call 7",
        "code": "not_found",
    }


async def test_request_ids(world: World) -> None:
    """A usable one is echoed, any other replaced; each made one is new."""
    sent = "0123-abc_" + "x" * 119
    assert (await world.send("GET", "/livez", headers={"X-Request-Id": sent})).headers["X-Request-Id"] == sent
    made = [(await world.send("GET", "/livez", headers={"X-Request-Id": "x" * 129})).headers["X-Request-Id"]]
    made += [(await world.send("GET", "/livez")).headers["X-Request-Id"] for _ in range(9)]
    assert len(set(made)) == 10
    assert all(value.startswith("req_") for value in made)


async def test_head_has_the_head_only(tenant: Tenant) -> None:
    """HEAD answers as GET would, without the body."""
    await tenant.seed("user_1", 10)
    wire = await Wire.open(tenant.world.edge.port)
    wire.send(tenant.head("HEAD /v1/entitlements/check?end_user_id=user_1&feature_key=api_calls HTTP/1.1") + LIVE)
    answer = await wire.answer(has_body=False)
    assert (answer.status, int(answer.headers["Content-Length"]) > 100) == (200, True)
    assert (await wire.answer()).body == {"status": "alive"}
    await wire.close()


# ---- keeping and closing


async def test_connections_are_kept(wire: Wire) -> None:
    """HTTP/1.1 stays open, however the bytes are cut."""
    for piece in (LIVE, LIVE[:10], LIVE[10:30], LIVE[30:]):
        wire.send(piece)
        if piece.endswith(b"\r\n\r\n"):
            answer = await wire.answer()
            assert answer.status == 200
            assert "Connection" not in answer.headers
    await wire.close()


async def test_close_is_answered_with_close(wire: Wire) -> None:
    """What follows a last request is not answered."""
    wire.send(b"GET /livez HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n" + LIVE)
    assert (await wire.answer()).headers["Connection"] == "close"
    assert await wire.is_closed()
    await wire.close()


async def test_http_1_0(world: World) -> None:
    """Closes, unless it is asked to keep; needs no Host."""
    wire = await Wire.open(world.edge.port)
    wire.send(b"GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert (await wire.answer()).headers["Connection"] == "keep-alive"
    wire.send(b"GET /livez HTTP/1.0\r\n\r\n")
    assert (await wire.answer()).headers["Connection"] == "close"
    assert await wire.is_closed()
    await wire.close()


async def test_a_client_that_has_said_everything_is_answered(wire: Wire) -> None:
    """Half-closed by the client: the answer comes, then the end."""
    wire.send(LIVE)
    wire.writer.write_eof()
    assert (await wire.answer()).status == 200
    assert await wire.is_closed()
    await wire.close()


# ---- order


async def test_pipelined_requests_are_answered_in_order(tenant: Tenant) -> None:
    """Slow and quick, from Redis and from memory: answers leave in the order of the requests, beyond every bound.

    Requests that are under way together are decided on in any order, each once (RFC 9112, 9.3.2).
    """
    await tenant.seed("user_1", 1_000)
    wire = await Wire.open(tenant.world.edge.port)
    body = json.dumps({"end_user_id": "user_1", "feature_key": "api_calls"}).encode()
    requests: list[bytes] = []
    for number in range(5 * MAX_IN_FLIGHT):
        name = f"X-Request-Id: {number}"
        if number % 3 == 0:
            requests.append(tenant.head("GET /livez HTTP/1.1", name))
        elif number % 3 == 1:
            user = "nobody" if number % 2 else "user_1"
            path = f"/v1/entitlements/check?end_user_id={user}&feature_key=tokens"
            requests.append(tenant.head(f"GET {path} HTTP/1.1", name))
        else:
            requests.append(tenant.head("POST /v1/usage HTTP/1.1", name, f"Content-Length: {len(body)}") + body)
    wire.send(b"".join(requests))
    answers = [await wire.answer() for _ in requests]
    assert [answer.headers["X-Request-Id"] for answer in answers] == [str(number) for number in range(len(requests))]
    assert {answer.status for answer in answers} == {200, 202}
    balances = [answer.body["balance"] for answer in answers if answer.status == 202]
    assert sorted(balances, reverse=True) == [999 - number for number in range(len(balances))]
    await wire.close()


async def test_a_client_that_does_not_read_is_not_read_from(tenant: Tenant) -> None:
    """Back-pressure: far more is asked than anybody buffers; once the client reads, all answers come."""
    await tenant.seed("user_1", 10)
    wire = await Wire.open(tenant.world.edge.port)
    request = tenant.head("GET /v1/entitlements/check?end_user_id=user_1&feature_key=api_calls HTTP/1.1")
    count = 20_000
    wire.send(request * count)
    for _ in range(count):
        assert (await wire.answer()).status == 200
    await wire.close()


# ---- bodies


async def test_chunked_bodies(tenant: Tenant) -> None:
    """Chunks of any size, extensions and trailers; a trailer is no header."""
    await tenant.seed("user_1", 10)
    text = json.dumps({"end_user_id": "user_1", "feature_key": "api_calls", "units": 2}).encode()
    chunks = b"".join(b"1;x=y\r\n%c\r\n" % byte for byte in text)
    head = tenant.head("POST /v1/usage HTTP/1.1", "Transfer-Encoding: chunked")
    wire = await Wire.open(tenant.world.edge.port)
    for _ in range(2):
        wire.send(head + chunks + b"0\r\nIdempotency-Key: not-a-header\r\n\r\n")
    first, second = await wire.answer(), await wire.answer()
    assert {first.body["balance"], second.body["balance"]} == {8, 6}
    await wire.close()


async def test_expect_100_continue(tenant: Tenant) -> None:
    """The client is told to go on, in its turn, and a body beyond the bound is refused before it is sent."""
    await tenant.seed("user_1", 10)
    body = json.dumps({"end_user_id": "user_1", "feature_key": "api_calls"}).encode()
    wire = await Wire.open(tenant.world.edge.port)
    lines = ("Expect: 100-continue", f"Content-Length: {len(body)}")
    wire.send(LIVE + tenant.head("POST /v1/usage HTTP/1.1", *lines))
    assert (await wire.answer()).status == 200
    assert (await wire.answer()).status == 100
    wire.send(body)
    assert (await wire.answer()).status == 202
    large = f"Content-Length: {MAX_BODY_BYTES + 1}"
    wire.send(tenant.head("POST /v1/usage HTTP/1.1", "Expect: 100-continue", large))
    await closes_after(wire, 413, "body_too_large")


@pytest.mark.parametrize(
    ("path", "limit"), [("/v1/usage", MAX_BODY_BYTES), ("/v1/usage/batch", MAX_BATCH_BYTES), ("/x", MAX_BODY_BYTES)]
)
async def test_bodies_are_bounded(tenant: Tenant, path: str, limit: int) -> None:
    """As soon as the length is known, or while it grows; the answer survives what the client goes on to send."""
    said = await Wire.open(tenant.world.edge.port)
    said.send(tenant.head(f"POST {path} HTTP/1.1", f"Content-Length: {limit + 1}"))
    await closes_after(said, 413, "body_too_large")
    grown = await Wire.open(tenant.world.edge.port)
    grown.send(tenant.head(f"POST {path} HTTP/1.1", "Transfer-Encoding: chunked"))
    piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    for _ in range(limit // 0x10000 + 1):
        grown.send(piece)
    await closes_after(grown, 413, "body_too_large")


async def test_a_body_of_exactly_the_bound_is_read(tenant: Tenant) -> None:
    """Not one byte less than promised: what is wrong with it is its content."""
    body = b" " * MAX_BODY_BYTES
    answer = await tenant.raw("POST /v1/usage HTTP/1.1", f"Content-Length: {len(body)}", body=body)
    assert (answer.status, answer.body["code"]) == (400, "malformed_json")


@pytest.mark.parametrize(
    "endless", [b"a" * 100, b"X-Trailer: " + b"y" * 100, b"0\r\nX-Trailer: " + b"y" * 100, b"1;" + b"z" * 100]
)
async def test_overhead_of_chunks_is_bounded_too(tenant: Tenant, endless: bytes) -> None:
    """Extensions and trailers without end come to an end."""
    wire = await Wire.open(tenant.world.edge.port)
    wire.send(tenant.head("POST /v1/usage HTTP/1.1", "Transfer-Encoding: chunked") + endless)
    for _ in range(64):
        wire.send(b"y" * 65_536)
    answer = await wire.answer()
    assert answer.status in {400, 413}
    assert await wire.is_closed()
    await wire.close()


# ---- heads


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"x" * MAX_HEAD_BYTES + b" HTTP/1.1\r\nHost: edge\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: edge\r\nX-Long: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: edge\r\n" + b"X-Many: 1234567890\r\n" * 1000 + b"\r\n",
        b"GET /livez HTTP/1.1\r\nHost: edge\r\nX-Endless: " + b"x" * 100_000,
        b"GET /" + b"x" * 100_000,
    ],
)
async def test_heads_are_bounded(wire: Wire, head: bytes) -> None:
    """431, whether or not the head ever ends."""
    wire.send(head)
    await closes_after(wire, 431, "headers_too_large")


async def test_a_head_just_below_the_bound(wire: Wire) -> None:
    """16 KiB are taken."""
    wire.send(b"GET /livez HTTP/1.1\r\nHost: edge\r\nX-Long: " + b"x" * (MAX_HEAD_BYTES - 100) + b"\r\n\r\n")
    assert (await wire.answer()).status == 200
    await wire.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"HELLO / HTTP/1.1\r\nHost: edge\r\n\r\n",
        b"GET /livez HTTP/1.1\nHost: edge\n\n",
        b"GET /livez\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/2.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: edge\r\nBad Name: x\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: edge\r\nName : x\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: edge\r\nA: b\r\n c\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: edge\r\nA: b\0c\r\n\r\n",
        b"POST /v1/usage HTTP/1.1\r\nHost: edge\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/usage HTTP/1.1\r\nHost: edge\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
        b"POST /v1/usage HTTP/1.1\r\nHost: edge\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"POST /v1/usage HTTP/1.1\r\nHost: edge\r\nContent-Length: -2\r\n\r\n{}",
        b"POST /v1/usage HTTP/1.1\r\nHost: edge\r\nContent-Length: 0x2\r\n\r\n{}",
        b"POST /v1/usage HTTP/1.1\r\nHost: edge\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
        b"POST /v1/usage HTTP/1.1\r\nHost: edge\r\nTransfer-Encoding: gzip\r\n\r\n{}",
        b"POST /v1/usage HTTP/1.1\r\nHost: edge\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"POST /v1/usage HTTP/1.1\r\nHost: edge\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused_and_ends_the_connection(wire: Wire, sent: bytes) -> None:
    """400 as a problem document, after the answers to what came before, and nothing after it."""
    wire.send(LIVE + sent + LIVE)
    assert (await wire.answer()).status == 200
    await closes_after(wire, 400, "malformed_request")


async def test_connect_is_refused(wire: Wire) -> None:
    """The edge is no proxy."""
    wire.send(b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n")
    await closes_after(wire, 405, "method_not_allowed")


async def test_an_absolute_target_is_no_path(wire: Wire) -> None:
    """404: a proxy's form of a request is not resolved here."""
    wire.send(b"GET http://edge/livez HTTP/1.1\r\nHost: edge\r\n\r\n")
    assert (await wire.answer()).body["code"] == "not_found"
    await wire.close()


async def test_an_offered_upgrade_is_passed_over(tenant: Tenant) -> None:
    """A client that offers HTTP/2 (h2c) is answered in HTTP/1.1, body and all, and keeps its connection."""
    await tenant.seed("user_1", 10)
    body = json.dumps({"end_user_id": "user_1", "feature_key": "api_calls", "units": 3}).encode()
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQ")
    wire = await Wire.open(tenant.world.edge.port)
    head = tenant.head("POST /v1/usage HTTP/1.1", *offer, f"Content-Length: {len(body)}")
    wire.send(head + body[:5])
    wire.send(body[5:] + tenant.head("GET /livez HTTP/1.1", *offer) + LIVE)
    assert (await wire.answer()).body["balance"] == 7
    assert [(await wire.answer()).status for _ in range(2)] == [200, 200]
    await wire.close()
