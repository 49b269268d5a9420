"""One client: what it sends is read while it may be, and answered in the order in which it came.

Nothing is awaited. What is not HTTP is answered with a problem document, and the connection closed. A close waits a
little for the client's end, so that no answer is lost with unread input.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from edge import http_faults
from edge.exchange import Exchange
from edge.http_reading import SLICE_BYTES, RequestReader
from edge.refusals import Refusal

MAX_IN_FLIGHT = 64
"""Requests of one connection that wait for their answers; beyond it nothing more is read."""
REQUEST_SECONDS = 30
"""From the first byte of a request to its last, and the longest that a client may leave its answers unread."""
IDLE_SECONDS = 75
LINGER_SECONDS = 2
"""How long a close waits for the client's end."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Host(Protocol):
    """The worker, as its connections see it."""

    is_draining: bool
    now: float
    """Monotonic seconds, renewed about once a second."""
    dispatch: Callable[[Exchange], None]
    """Sees to it that a whole request is answered; never raises."""

    def joined(self, connection: "Connection") -> bool:
        """Whether one more client is taken in."""
        ...

    def left(self, connection: "Connection") -> None:
        """A client is gone."""
        ...

    def body_limit(self, path: bytes) -> int:
        """The most bytes that a body for this path may have."""
        ...

    def new_request_id(self) -> bytes:
        """An id for a request that came without."""
        ...

    def observe(self, exchange: Exchange, status: int) -> None:
        """Count and log an exchange that has its answer."""
        ...


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.new_request_id = host.new_request_id
        self.body_limit = host.body_limit
        self.observe = host.observe
        self._reader = RequestReader(self)
        self._transport: Any = None
        self._exchanges: deque[Exchange] = deque()
        """Requests without an answer, or with one that waits for those before it."""
        self._since = host.now
        """When the last request began, or the last answer left."""
        self._unparsed = b""
        self._is_held = False
        self._is_write_paused = False
        self._is_ending = False
        self._is_lingering = False
        self._has_client_ended = False

    @property
    def peer(self) -> str:
        """The address of who is connected; nothing where that is gone, or no address."""
        name = self._transport.get_extra_info("peername") if self._transport is not None else None
        return name[0] if name else ""

    # ---- what the transport says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the client in, unless there are too many."""
        self._transport = transport
        if not self._host.joined(self):
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client; answers that are still under way go nowhere."""
        del exc
        self._host.left(self)
        self._transport = None
        self._exchanges.clear()
        self._reader.close()

    def data_received(self, data: bytes) -> None:
        """Read what has come, as far as it may be read now."""
        if self._is_held:
            self._unparsed += data
        elif len(data) <= SLICE_BYTES:
            self._read(data)
        else:
            self._read_slices(data)

    def eof_received(self) -> bool:
        """The client sends no more: answer what it sent before."""
        self._has_client_ended = True
        self._is_ending = True
        if self._exchanges:
            return True
        self._linger()  # what is written already has to be taken
        return False

    def pause_writing(self) -> None:
        """The client is slow to read: take no more requests from it."""
        self._is_write_paused = True
        self._hold()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._is_write_paused = False
        self._release_if_possible()

    # ---- input

    def _read_slices(self, data: bytes) -> None:
        for start in range(0, len(data), SLICE_BYTES):
            if self._is_held:
                self._unparsed = data[start:] + self._unparsed
                return
            self._read(data[start : start + SLICE_BYTES])

    def _read(self, data: bytes) -> None:
        if self._is_ending:  # what follows a last request is dropped
            return
        try:
            self._reader.feed(data)
        except Refusal as refusal:
            if not self._is_ending:
                self._refuse(refusal)
            refusal.__traceback__ = refusal.__context__ = None  # they refer to this connection, and to the refusal
        if len(self._exchanges) >= MAX_IN_FLIGHT:
            self._hold()

    def _hold(self) -> None:
        if not self._is_held:
            self._is_held = True
            self._transport.pause_reading()

    def _release_if_possible(self) -> None:
        if self._is_held and not self._is_write_paused and len(self._exchanges) <= MAX_IN_FLIGHT // 2:
            self._is_held = False
            self._transport.resume_reading()
            data, self._unparsed = self._unparsed, b""
            self._read_slices(data)

    # ---- what the reader says

    def may_begin(self) -> bool:
        """A request begins, unless the one before was the last."""
        self._since = self._host.now
        return not self._is_ending

    def expected(self) -> None:
        """The client waits for leave to send its body: it gets it in its turn."""
        leave = Exchange(self, b"", b"", {})
        leave.answer = _CONTINUE
        self._exchanges.append(leave)
        self.answered()

    def completed(self, exchange: Exchange) -> None:
        """A request is there: have it answered."""
        if self._host.is_draining:
            exchange.keep_alive = False
        exchange.began_at = time.monotonic_ns()
        self._is_ending = not exchange.keep_alive
        self._exchanges.append(exchange)
        self._host.dispatch(exchange)

    # ---- output

    def answered(self) -> None:
        """Write every answer whose turn has come."""
        if self._transport is None:
            return
        exchanges = self._exchanges
        while exchanges and (answer := exchanges[0].answer) is not None:
            self._transport.write(answer)
            exchanges.popleft()
        self._since = self._host.now
        if self._is_held:
            self._release_if_possible()
        if self._is_ending and not exchanges:
            self._end()

    def _refuse(self, refusal: Refusal) -> None:
        """Answer what cannot be read any further; nothing after it is."""
        exchange = self._reader.head or Exchange(self, b"", b"", {})
        exchange.keep_alive = False
        self._is_ending = True
        self._exchanges.append(exchange)
        exchange.refuse(refusal)

    def _end(self) -> None:
        """Everything is answered: say so, and wait for the client's end."""
        if self._has_client_ended:
            self._close()
        elif not self._is_lingering:
            self._linger()
            self._transport.write_eof()

    def _close(self) -> None:
        self._linger()
        self._transport.close()

    def _linger(self) -> None:
        """From here on the client has so much time to take what is written, and to end."""
        self._is_lingering = True
        self._since = self._host.now

    # ---- what the worker says

    def sweep(self) -> None:
        """Let go of a client that takes too long."""
        quiet_seconds = self._host.now - self._since
        if self._is_lingering:
            is_written = not self._transport.get_write_buffer_size()
            if quiet_seconds > (LINGER_SECONDS if is_written else REQUEST_SECONDS):
                self._transport.abort()
        elif self._is_write_paused:
            if quiet_seconds > REQUEST_SECONDS:
                self._transport.abort()
        elif self._reader.is_within and not self._is_ending:
            if quiet_seconds > REQUEST_SECONDS:
                self._refuse(http_faults.too_slow(REQUEST_SECONDS))
        elif not self._exchanges and quiet_seconds > IDLE_SECONDS:
            self._close()

    def drain(self) -> None:
        """Answer what has come and take nothing more; a request that has begun to come is read to its end."""
        if self._reader.is_within or self._is_ending:
            return
        self._is_ending = True
        if self._exchanges:
            self._exchanges[-1].keep_alive = False
        else:
            self._end()
