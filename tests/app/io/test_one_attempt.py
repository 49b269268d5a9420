"""A command is sent to Redis once, and whatever becomes of its connection is Redis that is not there."""

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from app.io.redis import OneAttempt, RedisUnavailable


@pytest.mark.parametrize(
    "trouble",
    [
        RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed"),  # uvloop's
        RedisConnectionError("Connection closed by server."),
    ],
    ids=["written to after its end", "ended while it waited"],
)
async def test_a_connection_that_is_gone(trouble: Exception) -> None:
    """Unavailable, the connection is told to be thrown away, and nothing is sent again."""
    sent: list[str] = []
    thrown_away: list[tuple[object, ...]] = []

    async def send() -> None:
        sent.append("once")
        raise trouble

    async def throw_away(*why: object) -> None:
        thrown_away.append(why)

    with pytest.raises(RedisUnavailable, match=str(trouble)[:20]):
        await OneAttempt().call_with_retry(send, throw_away)
    assert (sent, len(thrown_away)) == (["once"], 1)
