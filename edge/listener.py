"""The worker's side of HTTP: its listening socket, all its connections, and how they are let go."""

import asyncio
import contextlib
import itertools
import os
from collections.abc import Callable, Mapping
from typing import Protocol

from edge.exchange import Exchange
from edge.server import Connection

BACKLOG = 1024
"""Connections that the kernel keeps until they are taken in."""
MAX_CONNECTIONS = 10_000
"""Of one worker; a client beyond it is turned away."""
MORE_DESCRIPTORS = 128
"""Files and connections of a worker that are no client's."""
SWEEP_SECONDS = 1
DRAIN_SECONDS = 10
"""How long requests under way may take once the worker is told to stop."""
MAX_BODY_BYTES = 1024 * 1024
"""Where a route names no bound of its own."""


class Observer(Protocol):
    """Who counts and logs what this worker does."""

    def answered(self, exchange: Exchange, status: int) -> None:
        """An exchange has its answer."""
        ...

    def look(self, connections: int) -> None:
        """Another second is over, and so many clients are connected."""
        ...


class Listener:
    """One listening socket. Several workers may listen on one port (SO_REUSEPORT): the kernel spreads the clients."""

    def __init__(
        self,
        dispatch: Callable[[Exchange], None],
        body_limits: Mapping[bytes, int],
        observer: Observer,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self._connections: set[Connection] = set()
        self._is_empty = asyncio.Event()
        self.is_draining = False
        self.now = asyncio.get_running_loop().time()
        self.dispatch = dispatch
        self.observe = observer.answered
        self._look = observer.look
        self._body_limits = body_limits
        self._max_connections = max_connections
        self._server: asyncio.Server | None = None
        self._prefix = os.urandom(6).hex().encode()
        self._numbers = itertools.count(1)

    def joined(self, connection: Connection) -> bool:
        """Whether one more client is taken in."""
        if self.is_draining or len(self._connections) >= self._max_connections:
            return False
        self._connections.add(connection)
        return True

    def left(self, connection: Connection) -> None:
        """A client is gone."""
        self._connections.discard(connection)
        if not self._connections:
            self._is_empty.set()

    def body_limit(self, path: bytes) -> int:
        """The most bytes that a body for this path may have."""
        return self._body_limits.get(path, MAX_BODY_BYTES)

    def new_request_id(self) -> bytes:
        """Unique: chosen at random for the worker, counted within it."""
        return b"req_%b%010x" % (self._prefix, next(self._numbers))

    async def start(self, host: str, port: int) -> None:
        """Take clients in."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), host, port, backlog=BACKLOG, reuse_port=True)
        loop.call_later(SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self.now = loop.time()
        for connection in tuple(self._connections):
            connection.sweep()
        self._look(len(self._connections))
        loop.call_later(SWEEP_SECONDS, self._sweep)

    async def drain(self) -> None:
        """Stop listening, answer what is under way, close. Ends when all clients are gone, or after DRAIN_SECONDS."""
        self.is_draining = True
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._connections):
            connection.drain()
        self._is_empty.clear()
        if self._connections:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_SECONDS):
                    await self._is_empty.wait()
