"""Connections to strangers' servers: to addresses that are allowed and no others, and with a bound on what comes back.

What is checked is the address of the very socket, at the moment it is made for it. Whatever a name resolves to, however
often, and however an address is spelled in the URL, it comes by here; nothing is resolved again between the check and
the connection.
"""

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from ssl import SSLContext
from typing import Any, Final, NamedTuple, TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError

from app.rules.addresses import Network, may_be_reached

Resolver = AbstractResolver
Result = TypeVar("Result")

MAX_HEAD_BYTES: Final = 65_536
"""What may come before the body's first 16 KiB, in all: interim answers, headers and the framing of chunks."""

RESOLVING_THREADS: Final = 64
"""Names that are looked up at once. Name servers that never answer hold as many threads as there are such names."""

RESOLVING_EACH: Final = 16
"""Of them for one tenant's environment: those whose names hang wait for each other, and others have threads."""

MAX_IDLE: Final = 256
"""Connections that are kept for later. With those in use they stay below the open files that a process may have."""

_NAME_CACHE_SECONDS: Final = 30
_NAMES: Final = 4_096
_KEEP_ALIVE_SECONDS: Final = 4  # common servers hang up after five: who reuses a connection then loses a message


# aiohttp tells a resolver the name and no more; the task that asks it has the context of the one that wants to know.
_whose: ContextVar[UUID | None] = ContextVar("whose", default=None)


def look_up_for(environment_id: UUID) -> None:
    """Names that the present task looks up from now on are of this environment's endpoints."""
    _whose.set(environment_id)


class ForbiddenAddress(OSError):
    """The address lies inside, and the operator has not allowed it."""


class GuardedConnector(aiohttp.TCPConnector):
    """Connects to public addresses and to what is `allowed`; of a name's addresses all others are passed over.

    At most `connections` are in use, and no more than that or MAX_IDLE are kept idle.
    """

    def __init__(
        self, allowed: Sequence[Network], connections: int, resolver: Resolver | None, tls: SSLContext | None
    ) -> None:
        self._names = resolver or ThreadedResolver()
        super().__init__(  # pyright: ignore[reportUnknownMemberType] - aiohttp leaves open what an address is
            resolver=self._names,
            ssl=tls or True,
            socket_factory=partial(_open_socket, allowed),
            limit=connections,
            keepalive_timeout=_KEEP_ALIVE_SECONDS,
            use_dns_cache=False,  # it has one look-up of a name for all: who waits for room would have all wait
        )
        self._factory = partial(_BoundedHandler, loop=asyncio.get_running_loop())

    async def close(self, *, abort_ssl: bool = False) -> None:
        """Close every connection, and let the threads go that look up names."""
        await super().close(abort_ssl=abort_ssl)
        await self._names.close()

    def _release(self, key: Any, protocol: ResponseHandler, *, should_close: bool = False) -> None:  # noqa: ANN401 - aiohttp's own
        super()._release(key, protocol, should_close=should_close)
        idle = self._conns
        while sum(map(len, idle.values())) > min(self.limit, MAX_IDLE):
            longest_idle = next(iter(idle))
            idle[longest_idle].popleft()[0].close()
            if not idle[longest_idle]:
                del idle[longest_idle]


class _Asked(NamedTuple):
    whose: UUID | None
    host: str
    port: int
    family: socket.AddressFamily


class _Found(NamedTuple):
    until: float
    """On the loop's clock."""
    addresses: list[ResolveResult]


class ThreadedResolver(Resolver):
    """Asks the system, in threads of its own: the loop has four, and four servers that are silent would hold them.

    What was found is known for a moment, to the environment whose endpoint asked.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(RESOLVING_THREADS, thread_name_prefix="names")
        self._rooms: WeakValueDictionary[UUID, asyncio.Semaphore] = WeakValueDictionary()
        self._known: OrderedDict[_Asked, _Found] = OrderedDict()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """All addresses of the name; OSError where there is none."""
        asked = _Asked(_whose.get(), host, port, family)
        now = asyncio.get_running_loop().time()
        if (known := self._known.get(asked)) is not None and now < known.until:
            return [*known.addresses]
        # As bytes: what a label must look like is for the name server to say, not for a codec to raise.
        ask = partial(socket.getaddrinfo, host.encode(), port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        answers = await asyncio.wrap_future(await self._begin(ask))
        found = [
            ResolveResult(hostname=host, host=str(address[0]), port=port, family=kind, proto=proto, flags=_NUMERIC)
            for kind, _, proto, _, address in answers
        ]
        self._remember(asked, _Found(asyncio.get_running_loop().time() + _NAME_CACHE_SECONDS, found))
        return [*found]

    def _remember(self, asked: _Asked, found: _Found) -> None:
        self._known[asked] = found
        self._known.move_to_end(asked)
        if len(self._known) > _NAMES:
            self._known.popitem(last=False)

    async def _begin(self, ask: Callable[[], Result]) -> Future[Result]:
        """Begin in a thread, once there is room for whoever wants to know."""
        whose = _whose.get()
        if whose is None:
            return self._threads.submit(ask)
        room = self._rooms.setdefault(whose, asyncio.Semaphore(RESOLVING_EACH))
        await room.acquire()
        looking, loop = self._threads.submit(ask), asyncio.get_running_loop()

        def ended(_: object) -> None:
            with suppress(RuntimeError):  # the loop has ended before the look-up
                loop.call_soon_threadsafe(room.release)

        looking.add_done_callback(ended)  # when the thread is free, and not when nobody waits for it any more
        return looking

    async def close(self) -> None:
        """Forget what waits; a look-up that is under way ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class _BoundedHandler(ResponseHandler):
    """Hangs up on an answer that goes on and on without coming to its body: interim answers, framing.

    The body is never read beyond its beginning, so of one that does come not much more than this arrives either.
    """

    _received_bytes = 0

    def set_response_params(self, **params: Any) -> None:  # noqa: ANN401 - aiohttp's own
        self._received_bytes = 0
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        if self._received_bytes > MAX_HEAD_BYTES:
            self.set_exception(HttpProcessingError(message="answer without end"))
            if self.transport is not None:
                self.transport.abort()
            return
        self._received_bytes += len(data)
        super().data_received(data)


_NUMERIC: Final = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


def _open_socket(allowed: Sequence[Network], target: tuple[Any, ...]) -> socket.socket:
    """A socket for an address that is allowed. `target` as `socket.getaddrinfo` gives it."""
    kind, type_, proto, _, address = target
    if not may_be_reached(str(address[0]), allowed):
        raise ForbiddenAddress("forbidden address")
    return socket.socket(kind, type_, proto)
