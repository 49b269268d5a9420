"""What goes out to strangers, and what they can do to it. Real sockets on the loopback."""

import asyncio
import gzip
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import repeat
from socket import AF_INET, AddressFamily

import pytest
from aiohttp.abc import ResolveResult

from app.io.guard import MAX_HEAD_BYTES
from app.io.outbound import WEBHOOK_BODY_BYTES, Failure, Session, open_guarded_session, post_webhook
from tests.app.io.outbound.stranger import (
    BODY,
    LOOPBACK,
    OK,
    UNSPECIFIED,
    Behaviour,
    Names,
    Peer,
    answering,
    outcome,
    post,
    stranger,
)

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SOON = 0.3
"""Seconds that are over soon, where a test is about what takes too long."""

MUCH = 50_000_000
"""Bytes that no one reads in a moment: far more than all buffers on the way hold."""


async def test_what_is_sent(session: Session) -> None:
    """The headers and the bytes that were given, and nothing of the machine that they come from."""
    async with stranger(answering(OK)) as server:
        delivery = await post_webhook(
            session, server.url() + "?tenant=7", {"webhook-id": "evt_1", "webhook-signature": "v1,x v1,y"}, BODY
        )
        assert outcome(delivery) == (200, b"ok", None)
    ((head, body),) = server.requests
    lines = head.decode().split("\r\n")
    fields = dict(line.lower().split(": ") for line in lines[1:] if line)
    assert lines[0] == "POST /hook?tenant=7 HTTP/1.1"
    assert body == BODY
    assert fields == {
        "accept": "*/*",
        "accept-encoding": "identity",
        "content-length": str(len(BODY)),
        "host": f"127.0.0.1:{server.port}",
        "webhook-id": "evt_1",
        "webhook-signature": "v1,x v1,y",
    }


def plain(status: int, *fields: str, body: bytes = b"") -> bytes:
    """An answer with a length."""
    head = "".join(f"{field}\r\n" for field in (*fields, f"Content-Length: {len(body)}"))
    return f"HTTP/1.1 {status} Word\r\n{head}\r\n".encode() + body


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (plain(201, body=b"made"), 201, b"made"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", 304, b""),
        (plain(410, body=b"gone"), 410, b"gone"),
        (plain(500, body=b"error"), 500, b"error"),
        (plain(999), 999, b""),
        (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
        (plain(200, "Content-Encoding: gzip", body=b"none"), 200, b"none"),
        (CHUNKED + b"2\r\nok\r\n0\r\n\r\n", 200, b"ok"),
        (CHUNKED + b"2;name=value\r\nok\r\n0\r\nTrailer: x\r\n\r\n", 200, b"ok"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, 200, b"ok"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", 101, b""),
    ],
)
async def test_an_answer_is_its_status(session: Session, answer: bytes, status: int, body: bytes) -> None:
    """With the beginning of its body, whatever the status means."""
    async with stranger(answering(answer)) as server:
        assert outcome(await post(session, server.url())) == (status, body, None)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_answers(session: Session, status: int) -> None:
    """Nobody is sent anywhere."""
    async with (
        stranger(answering(OK)) as target,
        stranger(answering(plain(status, f"Location: {target.url()}"))) as server,
    ):
        assert outcome(await post(session, server.url()))[0] == status
        assert not target.connections


async def test_no_cookies_are_kept(session: Session) -> None:
    """What one message was given, the next one does not bring back."""
    async with stranger(answering(plain(200, "Set-Cookie: a=b; Path=/"), OK)) as server:
        await post(session, server.url())
        await post(session, server.url())
    assert not any(b"cookie" in head.lower() for head, _ in server.requests)


async def test_no_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would connect for us, to whatever it likes."""
    async with stranger(answering(OK)) as proxy, stranger(answering(OK)) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url())
        async with open_guarded_session(LOOPBACK) as session:
            assert outcome(await post(session, server.url())) == (200, b"ok", None)
        assert not proxy.connections


async def test_a_connection_serves_again(session: Session) -> None:
    """Where the other side keeps it open; where it closes it, another one is made."""
    async with stranger(answering(OK, OK, plain(200, "Connection: close"), OK)) as server:
        assert [(await post(session, server.url())).status for _ in range(4)] == [200] * 4
        assert server.connections == 2


async def test_idle_connections_are_bounded() -> None:
    """Many hosts, each with its connection: those that have been idle for longest are closed."""
    async with (
        open_guarded_session(LOOPBACK, connections=3) as session,
        stranger(answering(*repeat(OK, 9)), UNSPECIFIED) as server,
    ):
        for number in range(1, 9):
            assert outcome(await post(session, server.url(f"127.0.0.{number}"))) == (200, b"ok", None)
        await server.is_left(to=3)
        assert outcome(await post(session, server.url("127.0.0.8"))) == (200, b"ok", None)
        assert server.connections == 8


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([], None),
        (["Retry-After: 120"], 120),
        (["Retry-After: 999999999999"], 86_400),
        (["Retry-After: Fri, 27 Nov 2026 12:01:00 GMT", "Date: Fri, 27 Nov 2026 12:00:00 GMT"], 60),
        (["Retry-After: whenever"], None),
    ],
)
async def test_what_retry_after_asks_for(session: Session, fields: list[str], expected: int | None) -> None:
    """In seconds, whichever way it is written."""
    async with stranger(answering(plain(503, *fields))) as server:
        assert (await post(session, server.url())).retry_after_seconds == expected


async def test_a_date_without_a_date_counts_from_now(session: Session) -> None:
    """There is no other clock to take."""
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    async with stranger(answering(plain(429, f"Retry-After: {until}"))) as server:
        seconds = (await post(session, server.url())).retry_after_seconds
        assert seconds is not None
        assert 90 <= seconds <= 100


async def silent(peer: Peer) -> None:
    """Takes the request and says nothing."""
    await peer.request()
    await peer.gone()


async def hangs_up(peer: Peer) -> None:
    """Takes the request and goes."""
    await peer.request()
    peer.hang_up()


async def refuses(peer: Peer) -> None:
    """Goes before anything is said."""
    peer.hang_up()


async def half_closes(peer: Peer) -> None:
    """Takes the request and says that no answer will come."""
    await peer.request()
    peer.finish()
    await peer.gone()


async def stops_in_the_head(peer: Peer) -> None:
    """Goes half-way through the head of its answer."""
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Le")
    peer.finish()


async def dribbles_a_head(peer: Peer) -> None:
    """Sends its head a byte at a time, and never all of it."""
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nX: ")
    for _ in range(1_000):
        await peer.send(b"x")
        await asyncio.sleep(0)
    await peer.gone()


NO_ANSWERS: dict[str, tuple[Behaviour, Failure]] = {
    "refuses": (refuses, Failure.CUT_OFF),
    "hangs up": (hangs_up, Failure.CUT_OFF),
    "half closes": (half_closes, Failure.CUT_OFF),
    "stops in the head": (stops_in_the_head, Failure.CUT_OFF),
    "silent": (silent, Failure.TIMED_OUT),
    "dribbles": (dribbles_a_head, Failure.TIMED_OUT),
    "binary": (answering(b"\x16\x03\x01\x00 garbage"), Failure.MALFORMED_ANSWER),
    "another protocol": (answering(b"SSH-2.0-OpenSSH\r\n"), Failure.MALFORMED_ANSWER),
    "no status": (answering(b"HTTP/1.1 abc OK\r\n\r\n"), Failure.MALFORMED_ANSWER),
    "no length": (answering(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), Failure.MALFORMED_ANSWER),
    "long field": (answering(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10_000 + b"\r\n\r\n"), Failure.MALFORMED_ANSWER),
    "many fields": (answering(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1_000 + b"\r\n"), Failure.MALFORMED_ANSWER),
}


@pytest.mark.parametrize(("behaviour", "failure"), NO_ANSWERS.values(), ids=NO_ANSWERS)
async def test_no_answer(behaviour: Behaviour, failure: Failure) -> None:
    """Whatever the other side does, an attempt ends in time, with a word for what was wrong."""
    async with open_guarded_session(LOOPBACK, total_seconds=SOON) as session, stranger(behaviour) as server:
        assert outcome(await post(session, server.url())) == (None, b"", failure)
        await server.is_left()


async def test_nobody_listens(session: Session) -> None:
    """A server that is down."""
    async with stranger(answering(OK)) as server:
        url = server.url()
    assert outcome(await post(session, url)) == (None, b"", Failure.NOT_CONNECTED)


class SilentNames(Names):
    """Name servers that never answer."""

    async def resolve(self, host: str, port: int = 0, family: AddressFamily = AF_INET) -> list[ResolveResult]:
        """Wait for ever."""
        await asyncio.Event().wait()
        return await super().resolve(host, port, family)


async def test_the_time_for_an_attempt_includes_its_name() -> None:
    """A name server that is silent holds an attempt no longer than a server that is."""
    async with open_guarded_session(LOOPBACK, total_seconds=SOON, resolver=SilentNames({})) as session:
        assert outcome(await post(session, "http://silent.example/")) == (None, b"", Failure.TIMED_OUT)


def flooding(start: bytes, part: bytes) -> Behaviour:
    """Answers with `start` and then with `part` again and again, as fast as it is read, until nobody is there."""

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(start)
        for _ in range(MUCH // len(part)):
            await peer.send(part)

    return behave


@pytest.mark.parametrize(
    ("start", "part"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 1_000),
        (b"HTTP/1.1 200 OK\r\n", b"X-Header: y\r\n" * 1_000),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x" * 30_000),
        (b"HTTP/1.1 200 ", b"x" * 30_000),
        (b"", b"\r\n" * 15_000),
    ],
    ids=["100", "103", "fields", "field", "word", "nothing"],
)
async def test_heads_without_end(start: bytes, part: bytes) -> None:
    """They are given up long before they have all come, and long before the time is up."""
    async with open_guarded_session(LOOPBACK) as session, stranger(flooding(start, part)) as server:
        delivery = await post(session, server.url())
        assert outcome(delivery) == (None, b"", Failure.MALFORMED_ANSWER)
        await server.is_left()
        assert server.sent_bytes < MUCH
        assert server.sent_bytes > MAX_HEAD_BYTES or delivery.elapsed_ms < 1_000


BOMB = gzip.compress(bytes(MUCH))


@pytest.mark.parametrize(
    ("start", "part", "body"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 30_000, b"x" * WEBHOOK_BODY_BYTES),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", b"x" * 30_000, b"x" * WEBHOOK_BODY_BYTES),
        (CHUNKED + b"1\r\nx\r\n", b"1\r\nx\r\n" * 5_000, b"x"),
        (CHUNKED + b"2\r\nok\r\n3;", b"x" * 30_000, b"ok"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", BOMB, BOMB[:WEBHOOK_BODY_BYTES]),
    ],
    ids=["until the end", "length", "chunks", "extension", "gzip"],
)
async def test_bodies_without_end(start: bytes, part: bytes, body: bytes) -> None:
    """The answer is its status; of the body its beginning is read, as it came, and then the connection is given up."""
    async with open_guarded_session(LOOPBACK) as session, stranger(flooding(start, part)) as server:
        status, start_of_body, failure = outcome(await post(session, server.url()))
        assert (status, failure) == (200, None)
        assert start_of_body.startswith(body)
        assert len(start_of_body) <= WEBHOOK_BODY_BYTES
        await server.is_left()
        assert server.sent_bytes < MUCH


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok", b"ok"),
        (CHUNKED + b"2\r\nok\r\n", b"ok"),
        (b"HTTP/1.0 200 OK\r\n\r\nok", b"ok"),
    ],
    ids=["length", "chunks", "until the end"],
)
@pytest.mark.parametrize("ending", [Peer.hang_up, Peer.finish, None])
async def test_a_body_that_is_spoilt(answer: bytes, body: bytes, ending: Callable[[Peer], None] | None) -> None:
    """Cut off or left open: the status was said, and what came of the body is kept."""

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)
        if ending is not None:
            await asyncio.sleep(0)
            ending(peer)
        await peer.gone()

    async with open_guarded_session(LOOPBACK, total_seconds=SOON) as session, stranger(behave) as server:
        status, start, failure = outcome(await post(session, server.url()))
        assert (status, failure) == (200, None)
        assert start in {body, b""}
        await server.is_left()


@pytest.mark.parametrize("rest", [b"garbage" * 5_000, b"0\r\n" + b"X: y\r\n" * 5_000], ids=["no chunk", "trailers"])
async def test_a_body_that_is_no_http(rest: bytes) -> None:
    """Where it comes with the head, the whole answer is none; where it comes later, the status was said."""
    async with (
        open_guarded_session(LOOPBACK, total_seconds=SOON) as session,
        stranger(flooding(CHUNKED, rest)) as server,
    ):
        assert outcome(await post(session, server.url())) in [
            (200, b"", None),
            (None, b"", Failure.MALFORMED_ANSWER),
        ]
        await server.is_left()


async def test_what_came_too_much_is_no_answer_to_the_next(session: Session) -> None:
    """A server that answers twice does not answer for the message after."""
    async with stranger(answering(OK + plain(500, body=b"bad"), plain(202))) as server:
        assert (await post(session, server.url())).status == 200
        assert (await post(session, server.url())).status in {200, 202}
