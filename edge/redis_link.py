"""One open connection to a Redis server, on which the commands of one event-loop turn travel together.

`send` awaits nothing: a command's bytes are queued, written with all others of the turn, and the reply is handed to a
callback. A command that may have run is never sent again. When the connection is lost, or a reply is late, all that is
pending fails.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from logging import getLogger
from typing import Any, Protocol, cast

import hiredis
from hiredis import ProtocolError, Reader, ReplyError

from app.wire import scripts
from app.wire.codes import Code
from edge import metrics
from edge.refusals import Refusal, store_unavailable

log = getLogger(__name__)

Reply = Any
"""What hiredis makes of a reply: bytes, int, None, or a list of these."""

REPLY_SECONDS = 1.0
"""A reply that takes longer is given up, and the connection with it."""
CHECK_SECONDS = 0.1
MAX_PENDING = 50_000
"""Commands without a reply; beyond it requests are refused at once."""

_COMMANDS = metrics.counter("quotastack_edge_redis_commands_total", "Commands that Redis answered")
_LATE = metrics.counter("quotastack_edge_redis_timeouts_total", "Connections that were given up for a late reply")
_LOST = metrics.counter("quotastack_edge_redis_lost_total", "Connections to Redis that ended, late ones among them")
_SECONDS = metrics.histogram(
    "quotastack_edge_redis_seconds", "Round trips to Redis; of those under way at once on a connection one is timed"
)
_COMMANDS_ROW, _LATE_ROW, _LOST_ROW, _SECONDS_ROW = _COMMANDS.row(), _LATE.row(), _LOST.row(), _SECONDS.row()

# The stub of hiredis does not say what this returns, and takes a tuple for one element.
_pack = cast("Callable[[tuple[bytes | str | int, ...]], bytes]", hiredis.pack_command)  # pyright: ignore[reportUnknownMemberType]
_NOT_ENOUGH = object()
_MOVED = "MOVED "
"""What a server of a cluster says first of a key that another has; the command did not run."""
_PASSING_ERRORS = (
    "LOADING",
    "BUSY",
    "OOM",
    "MISCONF",
    "READONLY",
    "NOREPLICAS",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "ASK ",
    "MASTERDOWN",
    "NOSCRIPT",
)
"""First words of what Redis says while it cannot do a thing that it could do at another time."""


def pack(*parts: bytes | str | int) -> bytes:
    """A command as it goes over the wire."""
    return _pack(parts)


class Waiter(Protocol):
    """Who gets a reply: `received` or `failed` is called, once per command."""

    def received(self, reply: Reply) -> None:
        """The reply; what this raises is handed to `failed`."""
        ...

    def failed(self, error: Exception) -> None:
        """No reply that can be used. Must not raise."""
        ...


class Elsewhere(Refusal):
    """Another server of a cluster has the key."""


OnMoved = Callable[[str, bytes, Waiter, bool], None]


def _refuse_moved(text: str, command: bytes, waiter: Waiter, is_script: bool) -> None:  # noqa: FBT001 - OnMoved
    del text, command, is_script
    detail = "Another server of Redis has this. The operator has to write REDIS_URL with redis+cluster://."
    waiter.failed(Elsewhere(Code.STORE_UNAVAILABLE, detail))


class Awaited:
    """A reply for who awaits `future`."""

    def __init__(self) -> None:
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def received(self, reply: Reply) -> None:
        """The reply."""
        if not self.future.done():
            self.future.set_result(reply)

    def failed(self, error: Exception) -> None:
        """None that can be used."""
        if not self.future.done():
            self.future.set_exception(error)


class Link(asyncio.Protocol):
    """One open connection: commands out, replies in, in the same order.

    A command that belongs elsewhere is handed to `on_moved`: what the server says, the command, its waiter and whether
    it is a script call. At first it is refused.
    """

    def __init__(self, on_lost: Callable[[], None]) -> None:
        self._on_lost = on_lost
        self.on_moved: OnMoved = _refuse_moved
        self._loop = asyncio.get_running_loop()
        self._reader = Reader(notEnoughData=_NOT_ENOUGH)
        self._transport: Any = None
        self._queued: list[bytes] = []
        self._pending: deque[tuple[Waiter, bytes, bool]] = deque()
        self._answered = self._awaited = self._looks = 0  # replies so far, replies to wait for, looks since then
        self._timed = 0  # the reply that is timed, counted as _answered counts them; 0 = none is
        self._timed_from = 0
        self._last_refusal = ""
        self.is_loading_scripts = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to look after replies."""
        self._transport = transport
        self._loop.call_later(CHECK_SECONDS, self._check)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what is pending: nobody knows what of it has run."""
        self._transport = None
        _LOST.add(_LOST_ROW)
        reason = f"The connection to Redis was lost{f' ({exc})' if exc else ''}; try again."
        while self._pending:
            self._pending.popleft()[0].failed(store_unavailable(reason))
        self._on_lost()

    def send(self, command: bytes, waiter: Waiter, *, may_resend: bool) -> None:
        """Queue a command for this turn. `may_resend`: it is a script call, which a missing script leaves undone."""
        if self._transport is None:
            waiter.failed(store_unavailable("Redis cannot be reached; try again."))
        elif len(self._pending) >= MAX_PENDING:
            waiter.failed(store_unavailable("Too many commands are waiting for Redis; try again."))
        else:
            if not self._queued:
                self._loop.call_soon(self._write)
            self._queued.append(command)
            self._pending.append((waiter, command, may_resend))

    def _write(self) -> None:
        if self._transport is not None:
            self._transport.write(b"".join(self._queued))
            if not self._timed:
                self._timed, self._timed_from = self._answered + len(self._pending), time.monotonic_ns()
        self._queued = []

    def data_received(self, data: bytes) -> None:
        """Hand out the replies that are complete."""
        self._reader.feed(data)
        arrived_at = time.monotonic_ns()
        gets, pending, count = self._reader.gets, self._pending, 0
        try:
            while (reply := gets()) is not _NOT_ENOUGH:
                waiter, command, may_resend = pending.popleft()
                count += 1
                if isinstance(reply, ReplyError):
                    self._take_error(reply, waiter, command, may_resend=may_resend)
                    continue
                try:
                    waiter.received(reply)
                except Exception as error:  # noqa: BLE001 - one request's fault is answered there, the others go on
                    waiter.failed(error)
        except (ProtocolError, IndexError) as error:
            log.error("Redis sent what is no reply: %s", error)  # noqa: TRY400 - the traceback is of this line
            self.abort()
        self._answered += count
        _COMMANDS.add(_COMMANDS_ROW, count)
        if 0 < self._timed <= self._answered:
            _SECONDS.observe(_SECONDS_ROW, (arrived_at - self._timed_from) // 1000)
            self._timed = 0

    def _take_error(self, reply: ReplyError, waiter: Waiter, command: bytes, *, may_resend: bool) -> None:
        text = str(reply)
        if text.startswith("NOSCRIPT") and may_resend:
            self._load_scripts()
            self.send(command, waiter, may_resend=False)
        elif text.startswith(_MOVED):
            self.on_moved(text, command, waiter, may_resend)
        elif text.startswith(_PASSING_ERRORS):
            if text != self._last_refusal:  # once, not for every request
                log.warning("Redis refuses: %s", text)
                self._last_refusal = text
            waiter.failed(store_unavailable("Redis refuses at the moment; try again."))
        else:
            waiter.failed(reply)

    def _load_scripts(self) -> None:
        """Once for all calls that were under way when Redis lost its scripts."""
        if not self.is_loading_scripts:
            self.is_loading_scripts = True
            for script in scripts.ALL:
                self.send(pack(b"SCRIPT", b"LOAD", script.text), _ScriptsLoaded(self), may_resend=False)

    def _check(self) -> None:
        """Give up where what was sent before the first of many looks is not answered at the last.

        Looks are counted, not seconds: where it is us who are slow, the replies are read before the next look.
        """
        if self._transport is None:
            return
        self._looks += 1
        if self._answered >= self._awaited:
            self._awaited, self._looks = self._answered + len(self._pending), 0
        if self._looks * CHECK_SECONDS > REPLY_SECONDS:
            log.warning("Redis did not answer within %s s", REPLY_SECONDS)
            _LATE.add(_LATE_ROW)
            self.abort()
        else:
            self._loop.call_later(CHECK_SECONDS, self._check)

    def abort(self) -> None:
        """Close at once; everything pending fails."""
        if self._transport is not None:
            self._transport.abort()


class _ScriptsLoaded:
    """Whether it worked is told by the script call behind it."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def received(self, reply: Reply) -> None:
        del reply
        self._link.is_loading_scripts = False

    def failed(self, error: Exception) -> None:
        del error
        self._link.is_loading_scripts = False
