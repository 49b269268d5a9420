"""A server between an SDK and the edge: it passes requests on, or does what a test has it do instead."""

import asyncio
import re
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import urlsplit

_LENGTH = re.compile(rb"(?im)^content-length:\s*(\d+)")
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time to linger."""


class Harm(Enum):
    """What becomes of a request in place of its answer."""

    LOSE_ANSWER = "it arrives and is answered, and nobody hears the answer"
    RESET = "it never arrives"
    SILENCE = "it never arrives, and nobody says so"
    DRIP = "the answer comes byte by byte, and never to its end"


@dataclass(frozen=True)
class Said:
    """An answer of the gate itself."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""

    def message(self) -> bytes:
        """As it goes over the wire."""
        lines = [f"HTTP/1.1 {self.status} -", *(f"{name}: {value}" for name, value in self.headers.items())]
        return "\r\n".join([*lines, f"Content-Length: {len(self.body)}", "", ""]).encode() + self.body


class Gate:
    """Passes every request on but those for which something is planned; while it is `away` nobody answers at all."""

    def __init__(self, target: str) -> None:
        address = urlsplit(target)
        self._target = (address.hostname, address.port)
        self.planned: deque[Harm | Said | None] = deque()
        """What becomes of the next requests; None: it is passed on."""
        self.is_away = False
        self.seen: list[bytes] = []
        """Requests that came, whole."""
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()

    def paths(self) -> list[str]:
        """Of the requests that came, without their queries."""
        return [request.split(b" ", 2)[1].split(b"?")[0].decode() for request in self.seen]

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection."""
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not self.is_away:
                request = await _read_message(reader)
                if self.is_away:
                    break
                self.seen.append(request)
                match self.planned.popleft() if self.planned else None:
                    case Said() as said:
                        writer.write(said.message())
                    case Harm.RESET:
                        break
                    case Harm.SILENCE:
                        await reader.read()
                        break
                    case Harm.DRIP:
                        await _drip(reader, writer)
                        break
                    case Harm.LOSE_ANSWER:
                        await self._pass_on(request)
                        break
                    case None:
                        writer.write(await self._pass_on(request))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            _reset(writer)

    async def _pass_on(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*self._target)
        try:
            writer.write(request)
            return await _read_message(reader)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def end(self) -> None:
        """Nothing of it is left."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def gate_to(target: str) -> AsyncIterator[Gate]:
    """A gate before this address."""
    gate = Gate(target)
    server = await asyncio.start_server(gate.accept, "127.0.0.1", 0)
    gate.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield gate
    finally:
        server.close()
        await gate.end()


async def _drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the client has gone."""
    writer.write(b"HTTP/1.1 200 -\r\nContent-Length: 1000000\r\n\r\n")
    gone = asyncio.create_task(reader.read())
    while not gone.done():
        writer.write(b" ")
        await asyncio.wait([gone], timeout=0.05)


async def _read_message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return head + (await reader.readexactly(int(length[1])) if length else b"")


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
