"""The fault proxy does to a connection what it says, and nothing else."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.proxy import FaultProxy, Way, proxy_to
from tests.waiting import wait_until_async

SECONDS = 5


class Wire:
    """A client's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def send(self, sent: bytes) -> None:
        """Send without waiting."""
        self._writer.write(sent)

    async def read(self, count: int) -> bytes:
        """So many bytes. Raises what the connection does."""
        async with asyncio.timeout(SECONDS):
            return await self._reader.readexactly(count)

    async def is_reset(self) -> bool:
        """Whether the other side ends it with a reset, after whatever it still sends."""
        async with asyncio.timeout(SECONDS):
            try:
                await self._reader.read()
            except ConnectionResetError:
                return True
            return False

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


class Echo:
    """Sends everything back, and counts what came."""

    def __init__(self) -> None:
        self.received = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client."""
        with suppress(OSError):
            while piece := await reader.read(1 << 16):
                self.received += len(piece)
                writer.write(piece)
        writer.close()


@pytest.fixture
def echo() -> Echo:
    """Who is on the other side."""
    return Echo()


@pytest.fixture
async def proxy(echo: Echo, tmp_path: Path) -> AsyncIterator[FaultProxy]:
    """A proxy to the echo, which listens on a Unix socket as our stores do."""
    path = tmp_path / "echo.sock"
    server = await asyncio.start_unix_server(echo.serve, path)
    async with proxy_to(path) as made:
        yield made
    server.close()


async def connect(proxy: FaultProxy) -> Wire:
    """A client through the proxy."""
    return Wire(*await asyncio.open_connection("127.0.0.1", proxy.port))


async def test_everything_is_passed_on(proxy: FaultProxy) -> None:
    """Both ways, whole, on several connections at once."""
    sent = bytes(range(256)) * 4_000
    wires = [await connect(proxy) for _ in range(3)]
    for wire in wires:
        wire.send(sent)
    assert [await wire.read(len(sent)) for wire in wires] == [sent] * 3
    assert proxy.connections == 3
    for wire in wires:
        await wire.close()


@pytest.mark.parametrize(("way", "arrives"), [(Way.TO_SERVER, 0), (Way.TO_CLIENT, 3)])
async def test_a_stalled_connection(proxy: FaultProxy, echo: Echo, way: Way, arrives: int) -> None:
    """Nothing comes back, and the server has what the direction lets it have; afterwards all of it arrives."""
    proxy.stall(way)
    wire = await connect(proxy)
    wire.send(b"abc")
    reading = asyncio.create_task(wire.read(3))
    other = await connect(proxy)  # taken in all the same

    async def has_arrived() -> bool:
        return echo.received >= arrives and proxy.connections == 2

    await wait_until_async(has_arrived, SECONDS, "what is let through to arrive")
    assert not reading.done()
    assert echo.received == arrives
    await proxy.heal()
    assert await reading == b"abc"
    await wire.close()
    await other.close()


async def test_a_slow_connection(proxy: FaultProxy) -> None:
    """It takes as long as its bytes say, and healing it lets the rest through at once."""
    proxy.slow(1_000)
    wire = await connect(proxy)
    began = time.monotonic()
    wire.send(b"x" * 500)
    assert await wire.read(500) == b"x" * 500
    assert 0.4 < time.monotonic() - began < 3
    wire.send(b"y" * 1_000_000)
    await proxy.heal()
    assert await wire.read(1_000_000) == b"y" * 1_000_000
    await wire.close()


@pytest.mark.parametrize("passed", [0, 2])
@pytest.mark.parametrize("way", list(Way))
async def test_a_cut_after_some_bytes(proxy: FaultProxy, echo: Echo, way: Way, passed: int) -> None:
    """So many bytes pass, then the connection is reset; the next connection is whole."""
    proxy.cut_after(way, passed)
    wire = await connect(proxy)
    wire.send(b"abcd")
    if way is Way.TO_CLIENT:
        assert await wire.read(passed) == b"abcd"[:passed]
    assert await wire.is_reset()
    arrives = passed if way is Way.TO_SERVER else 4

    async def has_arrived() -> bool:
        return echo.received >= arrives

    await wait_until_async(has_arrived, SECONDS, "what is let through to arrive")
    assert echo.received == arrives
    assert proxy.cuts == 1
    await wire.close()
    following = await connect(proxy)
    following.send(b"abcd")
    assert await following.read(4) == b"abcd"
    await following.close()


async def test_an_abandoned_connection(proxy: FaultProxy, echo: Echo) -> None:
    """It stays open and nothing passes, healed or not; the next connection is whole."""
    wire = await connect(proxy)
    wire.send(b"abc")
    assert await wire.read(3) == b"abc"
    proxy.abandon()
    wire.send(b"def")
    await proxy.heal()
    following = await connect(proxy)
    following.send(b"ghi")
    assert await following.read(3) == b"ghi"
    assert echo.received == 6
    await wire.close()
    await following.close()


async def test_nobody_listens(proxy: FaultProxy) -> None:
    """Who is connected is cut off, who comes is refused; healed, it listens at the same port."""
    wire = await connect(proxy)
    wire.send(b"abc")
    assert await wire.read(3) == b"abc"
    await proxy.refuse()
    assert await wire.is_reset()
    with pytest.raises(ConnectionRefusedError):
        await connect(proxy)
    await wire.close()
    await proxy.heal()
    again = await connect(proxy)
    again.send(b"abc")
    assert await again.read(3) == b"abc"
    await again.close()


async def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    """The client is cut off, as soon as it comes."""
    async with proxy_to(tmp_path / "nobody.sock") as proxy:
        wire = await connect(proxy)
        assert await wire.is_reset()
        await wire.close()
