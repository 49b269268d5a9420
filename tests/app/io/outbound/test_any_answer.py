"""Whatever bytes a stranger answers with: an attempt comes to a status or to a failure, and nothing is raised."""

import uvloop
from hypothesis import given
from hypothesis import strategies as st

from app.io.outbound import WEBHOOK_BODY_BYTES, Delivery, open_guarded_session
from app.rules.retry import MAX_RETRY_AFTER_SECONDS
from tests.app.io.outbound.stranger import LOOPBACK, Peer, outcome, post, stranger
from tests.rules.laws import LAW

PIECES = (
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.0 200\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/2 200\r\n",
    b"HTTP/1.1 -1 OK\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: -5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Content-Encoding: br\r\n",
    b"Content-Type: text/plain; charset=nothing\r\n",
    b"Retry-After: 99999999999999999999\r\n",
    b"Retry-After: Fri, 31 Dec 9999 23:59:59 -2359\r\n",
    b"Date: Mon, 01 Jan 0001 00:00:00 +2359\r\n",
    b"Location: http://[::1\r\n",
    b"Set-Cookie: a=b; Domain=..; Expires=never\r\n",
    b"Connection: close\r\n",
    b": nothing\r\n",
    b"\r\n",
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"FFFFFFFFFFFFFFFFFF\r\n",
    b"\x00\xff",
)
answers = st.lists(st.sampled_from(PIECES) | st.binary(max_size=6), max_size=10).map(b"".join)


@LAW
@given(st.sampled_from([b"", *PIECES]), answers)
def test_any_answer_comes_to_something(first: bytes, rest: bytes) -> None:
    """A status that HTTP can have, or a word for what was wrong; a short body; a wait of a day at most."""
    delivery = uvloop.run(_answered(first + rest))
    status, body_start, failure = outcome(delivery)
    assert failure is not None or (status is not None and 101 <= status <= 999)
    assert len(body_start) <= WEBHOOK_BODY_BYTES
    assert 0 <= (delivery.retry_after_seconds or 0) <= MAX_RETRY_AFTER_SECONDS


async def _answered(answer: bytes) -> Delivery:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)
        peer.finish()
        await peer.gone()

    async with open_guarded_session(LOOPBACK, total_seconds=2) as session, stranger(behave) as server:
        return await post(session, server.url())
