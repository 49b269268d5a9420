"""What goes to Redis is the same, whoever packs it."""

import pytest
from redis.asyncio import BlockingConnectionPool

from app.io.redis_pool import PackingPool

Argument = bytes | str | int | float


@pytest.mark.parametrize(
    "command",
    [
        ("GET", "key"),
        ("SCRIPT LOAD", "return 1"),
        ("EVALSHA", "0" * 40, 1, b"\x00\xff\r\n", -(2**53), 2**63 - 1, "", b"", "ж"),
        ("SET", "key", b"x" * 100_000, "EX", 60),
        ("BLPOP", "key", 0.1),
    ],
)
def test_commands_are_packed_as_the_client_packs_them(command: tuple[Argument, ...]) -> None:
    """Names of two words, empty and long values, bytes that are no text, numbers at their bounds."""
    ours, theirs = (pool.make_connection() for pool in (PackingPool(), BlockingConnectionPool()))
    assert b"".join(ours.pack_command(*command)) == b"".join(theirs.pack_command(*command))
    assert b"".join(ours.pack_commands([command] * 3)) == b"".join(theirs.pack_commands([command] * 3))
