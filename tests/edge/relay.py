"""Stands between a client and the edge, passes every byte on, and remembers what the client sent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

PIECE_BYTES = 65_536


class Relay:
    """What went through."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self.port = 0
        self.connections = 0
        self.seen = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client."""
        self.connections += 1
        edge_reader, edge_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        await asyncio.gather(
            self._pass_on(reader, edge_writer, is_client=True), self._pass_on(edge_reader, writer, is_client=False)
        )

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_client: bool) -> None:
        with suppress(ConnectionError):  # a client that hangs up
            while piece := await source.read(PIECE_BYTES):
                if is_client:
                    self.seen += piece
                sink.write(piece)
                await sink.drain()
        sink.close()


@asynccontextmanager
async def relay_to(port: int) -> AsyncIterator[Relay]:
    """A relay to this port."""
    relay = Relay(port)
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        server.close()
