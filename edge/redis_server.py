"""A Redis server by its address: connecting to it, and what is said first. redis-py reads the address.

The connection is ours, because a command costs twice as much on redis-py's, and that keeps the transport which it opens
to itself.
"""

import asyncio
from collections.abc import Callable
from logging import getLogger
from typing import Any

from hiredis import ReplyError
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)

from app.wire import keys, scripts
from app.wire.agreement import Durability
from edge.redis_link import Awaited, Elsewhere, Link, pack
from edge.refusals import Refusal
from edge.settings import SettingsError

log = getLogger(__name__)

CONNECT_SECONDS = 2.0
RECONNECT_SECONDS = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Waits before the next attempt to connect; the last is repeated."""
CONNECTING_FAILED = (OSError, TimeoutError, Refusal, ReplyError)
"""What a server that cannot be reached, or does not answer as it should, makes of an attempt."""


class AgreementMismatch(Exception):
    """Process and data disagree on what all processes must share."""


class Server:
    """Where a server is, and how one signs in there. Raises SettingsError for an address that cannot be read."""

    def __init__(self, url: str, agreement: bytes) -> None:
        try:
            arguments: dict[str, Any] = dict(parse_url(url))
            self._address: AbstractConnection = arguments.pop("connection_class", Connection)(**arguments)
        except (ValueError, TypeError) as error:
            raise SettingsError(f"REDIS_URL: {error}") from error
        self._agreement = agreement

    @property
    def host(self) -> str:
        """Where it is; of a socket of this machine nothing."""
        return self._address.host if isinstance(self._address, Connection) else ""

    async def connect(self, on_lost: Callable[[], None]) -> tuple[Link, bool]:
        """An open connection, and whether the agreement was compared: a server of a cluster may not be who has it.

        Raises AgreementMismatch, or one of CONNECTING_FAILED, of these TimeoutError after CONNECT_SECONDS.
        """
        async with asyncio.timeout(CONNECT_SECONDS):
            link = await self._open(on_lost)
            try:
                return link, await self._introduce(link)
            except BaseException:
                link.abort()
                raise

    async def _open(self, on_lost: Callable[[], None]) -> Link:
        loop, address = asyncio.get_running_loop(), self._address

        def make_link() -> Link:
            return Link(on_lost)

        if isinstance(address, UnixDomainSocketConnection):
            _, link = await loop.create_unix_connection(make_link, address.path)
        elif isinstance(address, Connection):
            tls: Any = address.ssl_context if isinstance(address, SSLConnection) else None
            _, link = await loop.create_connection(make_link, address.host, address.port, ssl=tls and tls.get())
        else:
            raise TypeError(f"no way to connect as {type(address).__name__}")
        return link

    async def _introduce(self, link: Link) -> bool:
        """Sign in, load the scripts, compare the agreement; one round trip."""
        address = self._address
        commands = [pack("CLIENT", "SETNAME", "quotastack-edge")]
        if address.password:
            commands.insert(0, pack("AUTH", address.username or "default", address.password))
        if address.db:
            commands.append(pack("SELECT", address.db))
        commands += [pack("SCRIPT", "LOAD", script.text) for script in scripts.ALL]
        commands += [pack("SET", keys.AGREEMENT, self._agreement, "NX"), pack("GET", keys.AGREEMENT)]
        replies = [Awaited() for _ in commands]
        for command, reply in zip(commands, replies, strict=True):
            link.send(command, reply, may_resend=False)
        answers = await asyncio.gather(*(reply.future for reply in replies), return_exceptions=True)
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        if failures and all(isinstance(failure, Elsewhere) for failure in failures):
            return False
        if failures:
            raise failures[0]
        theirs = answers[-1]
        if theirs != self._agreement:
            raise AgreementMismatch(f"this process is set to {self._agreement.decode()}, the data in Redis to {theirs}")
        return True


async def compare_durability(link: Link, durability: Durability) -> None:
    """Say so where Redis writes to its disk less often than our answers promise. Some servers do not tell."""
    replies = [Awaited(), Awaited()]
    for name, reply in zip((b"appendonly", b"appendfsync"), replies, strict=True):
        link.send(pack(b"CONFIG", b"GET", name), reply, may_resend=False)
    try:
        (_, appendonly), (_, appendfsync) = await asyncio.gather(*(reply.future for reply in replies))
    except (Refusal, ReplyError) as error:
        log.info("Redis does not tell how often it writes to its disk: %s", error)
        return
    kept: str = appendfsync.decode() if appendonly == b"yes" else "never"
    if kept not in ("always", durability):
        log.warning(
            "DURABILITY is %s, and Redis writes to its disk %s: what is acknowledged can be lost",
            *(durability, kept),
        )
