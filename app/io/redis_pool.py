"""The client's connections, with commands packed in C.

The client packs argument by argument, which for a publish took longer than all else that is done about it.
"""

from typing import TYPE_CHECKING, cast

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.connection import HiredisRespSerializer

if TYPE_CHECKING:
    from collections.abc import Callable

_pack = cast("Callable[..., list[bytes]]", HiredisRespSerializer().pack)  # pyright: ignore[reportUnknownMemberType]


class PackingPool(BlockingConnectionPool):
    """A pool whose connections write the very bytes that the client's own would write."""

    def make_connection(self) -> AbstractConnection:
        """A connection that is not open yet."""
        connection = super().make_connection()
        connection.pack_command = _pack
        return connection
