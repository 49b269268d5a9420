"""Redis for the edge: the connection on which the commands of one event-loop turn travel together.

`send` awaits nothing: a command's bytes are queued, written with all others of the turn, and the reply is handed to a
callback. redis-py reads the address (TLS, credentials, database); the connection is ours, because a command costs twice
as much on redis-py's, and that keeps the transport which it opens to itself.

A command that may have run is never sent again. When the connection is lost, or a reply is late, all that is pending
fails.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from logging import getLogger
from typing import Any, Protocol, cast

import hiredis
from hiredis import ProtocolError, Reader, ReplyError
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)

from app.wire import keys, scripts
from app.wire.agreement import Durability
from app.wire.scripts import Script
from edge.refusals import Refusal, store_unavailable
from edge.settings import SettingsError

log = getLogger(__name__)

Reply = Any
"""What hiredis makes of a reply: bytes, int, None, or a list of these."""

REPLY_SECONDS = 1.0
"""A reply that takes longer is given up, and the connection with it."""
CHECK_SECONDS = 0.1
CONNECT_SECONDS = 2.0
MAX_PENDING = 50_000
"""Commands without a reply; beyond it requests are refused at once."""
RECONNECT_SECONDS = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Waits before the next attempt to connect; the last is repeated."""

# The stub of hiredis does not say what this returns, and takes a tuple for one element.
_pack = cast("Callable[[tuple[bytes | str | int, ...]], bytes]", hiredis.pack_command)  # pyright: ignore[reportUnknownMemberType]
_NOT_ENOUGH = object()
_PASSING_ERRORS = ("LOADING", "BUSY", "OOM", "MISCONF", "READONLY", "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN")
"""First words of what Redis says while it cannot do a thing that it could do at another time."""


def pack(*parts: bytes | str | int) -> bytes:
    """A command as it goes over the wire."""
    return _pack(parts)


class AgreementMismatch(Exception):
    """Process and data disagree on what all processes must share."""


class Waiter(Protocol):
    """Who gets a reply: `received` or `failed` is called, once per command."""

    def received(self, reply: Reply) -> None:
        """The reply; what this raises is handed to `failed`."""
        ...

    def failed(self, error: Exception) -> None:
        """No reply that can be used. Must not raise."""
        ...


class _Reply:
    """A reply for who awaits it."""

    def __init__(self) -> None:
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def received(self, reply: Reply) -> None:
        if not self.future.done():
            self.future.set_result(reply)

    def failed(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class _Link(asyncio.Protocol):
    """One open connection: commands out, replies in, in the same order."""

    def __init__(self, on_lost: Callable[[], None]) -> None:
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._reader = Reader(notEnoughData=_NOT_ENOUGH)
        self._transport: Any = None
        self._queued: list[bytes] = []
        self._pending: deque[tuple[Waiter, bytes | None]] = deque()
        self._answered = self._awaited = self._looks = 0  # replies so far, replies to wait for, looks since then
        self._last_refusal = ""
        self.is_loading_scripts = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._loop.call_later(CHECK_SECONDS, self._check)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
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
            self._pending.append((waiter, command if may_resend else None))

    def _write(self) -> None:
        if self._transport is not None:
            self._transport.write(b"".join(self._queued))
        self._queued = []

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        gets, pending, count = self._reader.gets, self._pending, 0
        try:
            while (reply := gets()) is not _NOT_ENOUGH:
                waiter, command = pending.popleft()
                count += 1
                if isinstance(reply, ReplyError):
                    self._take_error(reply, waiter, command)
                    continue
                try:
                    waiter.received(reply)
                except Exception as error:  # noqa: BLE001 - one request's fault is answered there, the others go on
                    waiter.failed(error)
        except (ProtocolError, IndexError) as error:
            log.error("Redis sent what is no reply: %s", error)  # noqa: TRY400 - the traceback is of this line
            self.abort()
        self._answered += count

    def _take_error(self, reply: ReplyError, waiter: Waiter, command: bytes | None) -> None:
        text = str(reply)
        if text.startswith("NOSCRIPT") and command is not None:
            self._load_scripts()
            self.send(command, waiter, may_resend=False)
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
            self.abort()
        else:
            self._loop.call_later(CHECK_SECONDS, self._check)

    def abort(self) -> None:
        """Close at once; everything pending fails."""
        if self._transport is not None:
            self._transport.abort()


class _ScriptsLoaded:
    """Whether it worked is told by the script call behind it."""

    def __init__(self, link: _Link) -> None:
        self._link = link

    def received(self, reply: Reply) -> None:
        del reply
        self._link.is_loading_scripts = False

    def failed(self, error: Exception) -> None:
        del error
        self._link.is_loading_scripts = False


class Redis:
    """Keeps one connection open, or tries to. Raises SettingsError for an address that cannot be read."""

    def __init__(self, url: str, agreement: bytes, durability: Durability = "always") -> None:
        try:
            arguments: dict[str, Any] = dict(parse_url(url))
            self._address: AbstractConnection = arguments.pop("connection_class", Connection)(**arguments)
        except (ValueError, TypeError) as error:
            raise SettingsError(f"REDIS_URL: {error}") from error
        self._agreement = agreement
        self._durability = durability
        self._link: _Link | None = None

    # ---- commands

    def send(self, command: bytes, waiter: Waiter, *, is_script: bool = False) -> None:
        """Have a packed command run; the waiter gets its reply, or the refusal that stands for it.

        A script that Redis has lost is loaded, and its call sent once more: it did not run.
        """
        if self._link is None:
            waiter.failed(store_unavailable("Redis cannot be reached; try again."))
        else:
            self._link.send(command, waiter, may_resend=is_script)

    async def ask(self, *parts: bytes | int) -> Reply:
        """Run a command and await its reply; off the fast path. Raises Refusal or ReplyError."""
        reply = _Reply()
        self.send(pack(*parts), reply)
        return await reply.future

    async def run(self, script: Script, script_keys: tuple[bytes, ...], *arguments: bytes | int | str) -> Reply:
        """Run a script and await its reply; off the fast path. Raises Refusal or ReplyError."""
        reply = _Reply()
        self.send(pack(b"EVALSHA", script.digest, len(script_keys), *script_keys, *arguments), reply, is_script=True)
        return await reply.future

    # ---- the connection

    async def keep_connected(self) -> None:
        """Connect, and again whenever the connection is lost; runs until cancelled. Raises AgreementMismatch."""
        attempt = 0
        while True:
            lost = asyncio.Event()
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    link = await self._connect(lost.set)
            except (OSError, TimeoutError, Refusal, ReplyError) as error:
                log.warning("Redis cannot be reached: %s", error or type(error).__name__)
                await asyncio.sleep(RECONNECT_SECONDS[min(attempt, len(RECONNECT_SECONDS) - 1)])
                attempt += 1
                continue
            log.info("connected to Redis")
            await self._compare_durability(link)
            attempt = 0
            self._link = link
            try:
                await lost.wait()
            finally:
                self._link = None
                link.abort()

    async def _connect(self, on_lost: Callable[[], None]) -> _Link:
        loop, address = asyncio.get_running_loop(), self._address

        def make_link() -> _Link:
            return _Link(on_lost)

        if isinstance(address, UnixDomainSocketConnection):
            _, link = await loop.create_unix_connection(make_link, address.path)
        elif isinstance(address, Connection):
            tls: Any = address.ssl_context if isinstance(address, SSLConnection) else None
            _, link = await loop.create_connection(make_link, address.host, address.port, ssl=tls and tls.get())
        else:
            raise TypeError(f"no way to connect as {type(address).__name__}")
        try:
            await self._introduce(link)
        except BaseException:
            link.abort()
            raise
        return link

    async def _introduce(self, link: _Link) -> None:
        """Sign in, load the scripts, compare the agreement; one round trip."""
        address = self._address
        commands = [pack("CLIENT", "SETNAME", "quotastack-edge")]
        if address.password:
            commands.insert(0, pack("AUTH", address.username or "default", address.password))
        if address.db:
            commands.append(pack("SELECT", address.db))
        commands += [pack("SCRIPT", "LOAD", script.text) for script in scripts.ALL]
        commands += [pack("SET", keys.AGREEMENT, self._agreement, "NX"), pack("GET", keys.AGREEMENT)]
        replies = [_Reply() for _ in commands]
        for command, reply in zip(commands, replies, strict=True):
            link.send(command, reply, may_resend=False)
        theirs = (await asyncio.gather(*(reply.future for reply in replies)))[-1]
        if theirs != self._agreement:
            raise AgreementMismatch(f"this process is set to {self._agreement.decode()}, the data in Redis to {theirs}")

    async def _compare_durability(self, link: _Link) -> None:
        """Say so where Redis writes to its disk less often than our answers promise. Some servers do not tell."""
        replies = [_Reply(), _Reply()]
        for name, reply in zip((b"appendonly", b"appendfsync"), replies, strict=True):
            link.send(pack(b"CONFIG", b"GET", name), reply, may_resend=False)
        try:
            (_, appendonly), (_, appendfsync) = await asyncio.gather(*(reply.future for reply in replies))
        except (Refusal, ReplyError) as error:
            log.info("Redis does not tell how often it writes to its disk: %s", error)
            return
        kept: str = appendfsync.decode() if appendonly == b"yes" else "never"
        if kept not in ("always", self._durability):
            log.warning(
                "DURABILITY is %s, and Redis writes to its disk %s: what is acknowledged can be lost",
                *(self._durability, kept),
            )
