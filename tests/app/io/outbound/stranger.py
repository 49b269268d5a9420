"""A stranger's server, and a stranger's names: they answer whatever the test has them answer."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from socket import AF_INET, AF_INET6, AddressFamily, gaierror

from aiohttp.abc import AbstractResolver, ResolveResult

from app.io.outbound import Delivery, Session, post_webhook
from app.rules.addresses import read_networks
from tests.waiting import wait_until_async

Request = tuple[bytes, bytes]  # head and body
LOOPBACK = read_networks("127.0.0.0/8,::1/128")
BODY = b'{"type":"credits.low"}'
UNSPECIFIED = "0.0.0.0"  # noqa: S104 - to bind: every IPv4 address; as a target: the machine itself
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Peer:
    """One connection, as the stranger sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.requests: list[Request] = []
        self.sent_bytes = 0

    async def request(self) -> None:
        """Read the next request, head and body; IncompleteReadError when none comes."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        self.requests.append((head, await self._reader.readexactly(int(length.partition(b":")[2]))))

    async def send(self, data: bytes) -> None:
        """Write, and wait until the other side reads."""
        self._writer.write(data)
        await self._writer.drain()
        self.sent_bytes += len(data)

    async def gone(self) -> None:
        """Wait until the other side hangs up."""
        with suppress(ConnectionError):
            while await self._reader.read(65_536):
                pass

    def hang_up(self) -> None:
        """End the connection at once."""
        self._writer.transport.abort()

    def finish(self) -> None:
        """Say that no more is sent, and go on listening."""
        self._writer.write_eof()


Behaviour = Callable[[Peer], Awaitable[None]]


class Stranger:
    """A server with one behaviour; `open` is how many are connected."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._peers: list[Peer] = []
        self.open = 0
        self.port = 0

    @property
    def connections(self) -> int:
        """How many came so far."""
        return len(self._peers)

    @property
    def requests(self) -> list[Request]:
        """All that were read, connection by connection."""
        return [request for peer in self._peers for request in peer.requests]

    @property
    def sent_bytes(self) -> int:
        """How much was sent, but for the last part of what nobody read."""
        return sum(peer.sent_bytes for peer in self._peers)

    def url(self, host: str = "127.0.0.1", scheme: str = "http") -> str:
        """Where it listens, by any of its names."""
        return f"{scheme}://{host}:{self.port}/hook"

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Behave on one connection."""
        self._peers.append(peer := Peer(reader, writer))
        self.open += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._behaviour(peer)
        finally:
            self.open -= 1
            writer.close()

    async def leave(self) -> None:
        """Hang up on whoever is still there."""
        for peer in self._peers:
            peer.hang_up()
        await self.is_left()

    async def is_left(self, *, to: int = 0) -> None:
        """Wait until no more than so many are connected."""

        async def left() -> bool:
            return self.open <= to

        await wait_until_async(left, 10, "connections are given up")


@asynccontextmanager
async def stranger(
    behaviour: Behaviour, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[Stranger]:
    """A server on a port of its own."""
    made = Stranger(behaviour)
    server = await asyncio.start_server(made.meet, host, 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await made.leave()


def answering(*answers: bytes) -> Behaviour:
    """Reads a request for each answer, and then waits for the other side to go."""

    async def behave(peer: Peer) -> None:
        for answer in answers:
            await peer.request()
            await peer.send(answer)
        await peer.gone()

    return behave


class Names(AbstractResolver):
    """A name server in the hand of the test: for each name one answer after another, the last one for ever."""

    def __init__(self, answers: Mapping[str, Sequence[Sequence[str]]]) -> None:
        self._answers = {name: list(some) for name, some in answers.items()}
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int = 0, family: AddressFamily = AF_INET) -> list[ResolveResult]:  # noqa: ARG002 - aiohttp asks so
        """The next answer."""
        self.asked.append(host)
        answers = self._answers.get(host)
        if not answers:
            raise gaierror(f"no such name: {host}")
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            ResolveResult(
                hostname=host, host=one, port=port, family=AF_INET6 if ":" in one else AF_INET, proto=0, flags=0
            )
            for one in addresses
        ]

    async def close(self) -> None:
        """There is nothing to close."""


async def post(session: Session, url: str) -> Delivery:
    """Post what all tests post."""
    return await post_webhook(session, url, {"webhook-id": "evt_1"}, BODY)


def outcome(delivery: Delivery) -> tuple[int | None, bytes, str | None]:
    """What a delivery came to; how long it took is in milliseconds, and never negative."""
    assert delivery.elapsed_ms >= 0
    assert (delivery.status is None) == (delivery.failure is not None)
    return delivery.status, delivery.body_start, delivery.failure
