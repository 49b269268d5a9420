"""One connection of a client that sends what it likes and keeps all that it gets."""

import asyncio


class RawClient(asyncio.Protocol):
    """Its end of the connection, for `loop.create_connection`."""

    def __init__(self) -> None:
        self.received = b""
        self.error: Exception | None = None
        """How the connection was cut off before the edge said that it is done."""
        self.ended = asyncio.Event()
        self.lost = asyncio.Event()
        self._news = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        """Keep it."""
        self.received += data
        self._news.set()

    def eof_received(self) -> bool:
        """The edge has said everything."""
        self.ended.set()
        self._news.set()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if not self.ended.is_set():
            self.error = exc
        self.ended.set()
        self.lost.set()
        self._news.set()

    async def holds(self, text: bytes, count: int) -> bool:
        """Wait until `text` came so often, or the end; whether it did."""
        while self.received.count(text) < count and not self.ended.is_set():
            self._news.clear()
            await self._news.wait()
        return self.received.count(text) >= count
