"""Stands between two parties on loopback and passes on what they say, until a test tells it to do otherwise.

A fault holds for all connections, those there are and those to come, until `heal`; a cut is over once it was made, and
a connection that was abandoned is never heard of again.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import Enum
from pathlib import Path

PIECE_BYTES = 65_536
SLICES_A_SECOND = 20
"""What is passed on slowly goes in so many pieces."""
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time to linger: closing throws away what is unsent, and tells the other side so."""


class Way(Enum):
    """The two directions of a connection."""

    TO_SERVER = "to server"
    TO_CLIENT = "to client"


class FaultProxy:
    """Listens on `port`, and passes on to a port of this machine or to a Unix socket."""

    def __init__(self, target: int | Path, *, remembers: bool = False) -> None:
        self._target = target
        self._remembers = remembers
        self._server: asyncio.Server | None = None
        self._held = socket.socket()  # keeps the port ours while nobody listens there
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._held.bind(("127.0.0.1", 0))
        self.port: int = self._held.getsockname()[1]
        self.connections = 0
        """Taken in so far."""
        self.cuts = 0
        """Made by `cut_after` so far."""
        self.seen = b""
        """What clients sent, where it remembers."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._abandoned: set[asyncio.StreamWriter] = set()
        self._stalled: frozenset[Way] = frozenset()
        self._left: dict[Way, int] = {}
        self._bytes_a_second: int | None = None
        self._changed = asyncio.Event()

    # ---- faults

    async def refuse(self) -> None:
        """Nobody listens any more, and whoever is connected is cut off."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()

    def cut(self) -> None:
        """Reset every connection that there is."""
        for writer in self._writers:
            _reset(writer)

    def cut_after(self, way: Way, count: int) -> None:
        """Pass on so many bytes more in one direction, then reset the connection whose bytes are next; once."""
        self._left[way] = count

    def stall(self, *ways: Way) -> None:
        """Take connections in and pass nothing on, in the directions named; in none of them where none is named."""
        self._change()
        self._stalled = frozenset(ways or Way)

    def abandon(self) -> None:
        """Pass nothing on of the connections that there are, for ever, and tell nobody; those to come are whole."""
        self._abandoned |= self._writers

    def slow(self, bytes_a_second: int) -> None:
        """Pass on so much of each connection and direction."""
        self._change()
        self._bytes_a_second = bytes_a_second

    async def heal(self) -> None:
        """Pass everything on, at once."""
        self._stalled, self._left, self._bytes_a_second = frozenset(), {}, None
        self._change()
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, reuse_port=True)

    # ---- passing on

    def _change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = {writer}
        self._writers |= writers
        try:
            server_reader, server_writer = await self._connect()
            writers.add(server_writer)
            self._writers.add(server_writer)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass_on(Way.TO_SERVER, reader, server_writer))
                group.create_task(self._pass_on(Way.TO_CLIENT, server_reader, writer))
        except* OSError:  # one side is gone, which the other is to learn as it would without us
            for one in writers:
                _reset(one)
        finally:
            self._writers -= writers
            self._abandoned -= writers
            for one in writers:
                one.close()
            await asyncio.gather(*[one.wait_closed() for one in writers], return_exceptions=True)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._target, Path):
            return await asyncio.open_unix_connection(self._target)
        return await asyncio.open_connection("127.0.0.1", self._target)

    async def _pass_on(self, way: Way, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while piece := await source.read(PIECE_BYTES):
            if self._remembers and way is Way.TO_SERVER:
                self.seen += piece
            while piece:
                await self._wait_while_stalled(way, sink)
                part, piece = self._take(way, piece)
                sink.write(part)
                await sink.drain()
                await self._wait_after(len(part))
        await self._wait_while_stalled(way, sink)
        if not sink.is_closing():
            sink.write_eof()

    def _take(self, way: Way, piece: bytes) -> tuple[bytes, bytes]:
        """What goes on now of a piece, and what is left of it. Raises ConnectionError where the connection is cut."""
        if self._left.get(way) == 0:
            del self._left[way]
            self.cuts += 1
            raise ConnectionResetError("cut here")
        most = self._left.get(way, len(piece))
        if self._bytes_a_second is not None:
            most = min(most, max(1, self._bytes_a_second // SLICES_A_SECOND))
        part = piece[:most]
        if way in self._left:
            self._left[way] -= len(part)
        return part, piece[most:]

    async def _wait_while_stalled(self, way: Way, sink: asyncio.StreamWriter) -> None:
        while way in self._stalled or sink in self._abandoned:
            await self._changed.wait()

    async def _wait_after(self, count: int) -> None:
        if self._bytes_a_second is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), count / self._bytes_a_second)

    async def close(self) -> None:
        """Listen no more, and end every connection."""
        self._stalled = frozenset()
        self._change()
        await self.refuse()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in self._writers:  # of connections that were taken in and never served
            writer.close()
        self._held.close()


@asynccontextmanager
async def proxy_to(target: int | Path, *, remembers: bool = False) -> AsyncIterator[FaultProxy]:
    """A proxy to this port or Unix socket, which passes everything on."""
    proxy = FaultProxy(target, remembers=remembers)
    await proxy.heal()
    try:
        yield proxy
    finally:
        await proxy.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection.family != socket.AF_UNIX and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
