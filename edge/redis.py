"""Redis for the edge: one server, to which one connection is kept open. What a cluster is, is in redis_cluster.py."""

import asyncio
from logging import getLogger

from app.wire.agreement import Durability
from app.wire.scripts import Script
from edge.redis_link import Awaited, Link, Reply, Waiter, pack
from edge.redis_server import CONNECTING_FAILED, RECONNECT_SECONDS, Server, compare_durability
from edge.refusals import store_unavailable
from edge.settings import SettingsError

log = getLogger(__name__)


class Redis:
    """Keeps one connection open, or tries to. Raises SettingsError for an address that cannot be read."""

    def __init__(self, url: str, agreement: bytes, durability: Durability = "always") -> None:
        self._server = Server(url, agreement)
        self._durability: Durability = durability
        self._link: Link | None = None
        self._seen_at: float | None = None

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now."""
        return self._link is not None

    def was_there_within(self, seconds: float) -> bool:
        """Whether there is a connection now, or was one within the last seconds."""
        if self.is_connected:
            return True
        return self._seen_at is not None and asyncio.get_running_loop().time() - self._seen_at <= seconds

    def note_seen(self) -> None:
        """There was a connection until now."""
        self._seen_at = asyncio.get_running_loop().time()

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
        reply = Awaited()
        self.send(pack(*parts), reply)
        return await reply.future

    async def run(self, script: Script, script_keys: tuple[bytes, ...], *arguments: bytes | int | str) -> Reply:
        """Run a script and await its reply; off the fast path. Raises Refusal or ReplyError."""
        reply = Awaited()
        self.send(pack(b"EVALSHA", script.digest, len(script_keys), *script_keys, *arguments), reply, is_script=True)
        return await reply.future

    # ---- the connection

    async def keep_connected(self) -> None:
        """Connect, and again whenever the connection is lost; runs until cancelled.

        Raises AgreementMismatch, and SettingsError for a server that is one of a cluster.
        """
        attempt = 0
        while True:
            lost = asyncio.Event()
            try:
                link, is_agreed = await self._server.connect(lost.set)
            except CONNECTING_FAILED as error:
                log.warning("Redis cannot be reached: %s", error or type(error).__name__)
                await asyncio.sleep(RECONNECT_SECONDS[min(attempt, len(RECONNECT_SECONDS) - 1)])
                attempt += 1
                continue
            if not is_agreed:
                link.abort()
                raise SettingsError("REDIS_URL: this is a server of a cluster; write redis+cluster://")
            log.info("connected to Redis")
            await compare_durability(link, self._durability)
            attempt = 0
            self._link = link
            try:
                await lost.wait()
            finally:
                self._link = None
                self.note_seen()
                link.abort()
