"""Redis for the edge on a cluster: one connection to each primary, and the way of a command by the slot of its key.

A partition has one slot, so its primary is found by its hash tag alone. Who has which slots is what most servers say.
A command that its server says belongs elsewhere did not run, and is sent there. What else a server says while slots or
primaries change is passing: 503.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from logging import getLogger

from app.wire import keys
from app.wire.agreement import Agreement, Durability
from app.wire.slots import SLOTS, Address, Range, node_url, node_urls, read_ranges, slot_of, slots_of_partitions
from edge.redis import Redis
from edge.redis_link import MAX_PENDING, Awaited, Link, Reply, Waiter, pack
from edge.redis_server import CONNECTING_FAILED, RECONNECT_SECONDS, Server, compare_durability
from edge.refusals import store_unavailable

log = getLogger(__name__)

LOOK_SECONDS = 5.0
"""The primaries are looked at this often where nothing happens; at once where one is lost or a command has moved."""
MOST_MOVES = 5
"""How often one command is sent on, while servers disagree on who has its slot."""
_CLUSTER_SLOTS = pack(b"CLUSTER", b"SLOTS")
_BULK_PARTS = 5
"""Of a packed command with a key: count, length, name, length, key, and what follows."""


class _Moved:
    """The waiter of a command that was sent on, and how often that was."""

    def __init__(self, waiter: Waiter, moves: int) -> None:
        self._waiter = waiter
        self.moves = moves

    def received(self, reply: Reply) -> None:
        self._waiter.received(reply)

    def failed(self, error: Exception) -> None:
        self._waiter.failed(error)


class RedisCluster(Redis):
    """Keeps a connection to each primary open, or tries to. Raises SettingsError for an address that cannot be read."""

    def __init__(self, url: str, agreement: Agreement, durability: Durability = "always") -> None:
        first, *others = node_urls(url)
        super().__init__(first, agreement.fingerprint(), durability)
        self._url, self._fingerprint = url, agreement.fingerprint()
        self._seeds = [self._server, *(Server(other, self._fingerprint) for other in others)]
        self._tags: dict[int, list[bytes]] = defaultdict(list)
        """Hash tags of partitions, without their braces, by slot."""
        for partition, slot in enumerate(slots_of_partitions(agreement.partitions)):
            self._tags[slot].append(keys.tag(partition)[1:-1])
        self._primaries: list[Address | None] = [None] * SLOTS
        self._links: dict[Address, Link] = {}
        self._by_tag: dict[bytes, Link] = {}
        """What the others come to: the connection of each partition whose primary is connected."""
        self._homeless: list[tuple[bytes, Waiter, bool]] = []
        """Commands whose new server is not connected yet."""
        self._is_agreed = False
        self._news = asyncio.Event()

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection to any primary now."""
        return bool(self._by_tag)

    # ---- commands

    def send(self, command: bytes, waiter: Waiter, *, is_script: bool = False) -> None:
        """Have a packed command run where its key is; see `Redis.send`. Without a key, where there is a connection."""
        start = command.find(b"{")
        link = (
            self._by_tag.get(command[start + 1 : command.find(b"}", start)]) if start >= 0 else self._link_of(command)
        )
        if link is None:
            waiter.failed(store_unavailable("The server of Redis that has this cannot be reached; try again."))
        else:
            link.send(command, waiter, may_resend=is_script)

    def _link_of(self, command: bytes) -> Link | None:
        """Where a command goes that names no partition; nowhere before the first partition has a connection."""
        if not self._by_tag:
            return None
        parts = command.split(b"\r\n", _BULK_PARTS)
        if len(parts) > _BULK_PARTS:
            address = self._primaries[slot_of(parts[_BULK_PARTS - 1])]
            return None if address is None else self._links.get(address)
        return next(iter(self._links.values()), None)

    def _send_on(self, text: str, command: bytes, waiter: Waiter, is_script: bool) -> None:  # noqa: FBT001 - OnMoved
        """Send a command to the server that has its slot now, as its old one says."""
        moves = waiter.moves + 1 if isinstance(waiter, _Moved) else 1
        if moves > MOST_MOVES or len(self._homeless) >= MAX_PENDING:
            waiter.failed(store_unavailable("The servers of Redis do not agree on who has this; try again."))
            return
        _, slot, there = text.split(" ", 2)
        host, _, port = there.rpartition(":")
        address = (host or self._server.host, int(port))
        if self._primaries[int(slot)] != address:
            self._primaries[int(slot)] = address
            self._route([int(slot)])
            self._news.set()
        moved = _Moved(waiter, moves)
        if link := self._links.get(address):
            link.send(command, moved, may_resend=is_script)
        else:
            self._homeless.append((command, moved, is_script))
            self._news.set()

    def _route(self, slots: Iterable[int]) -> None:
        """Which connection the partitions of these slots have."""
        for slot in slots:
            address = self._primaries[slot]
            link = self._links.get(address) if address is not None and self._is_agreed else None
            for tag in self._tags.get(slot, ()):
                if link is None:
                    self._by_tag.pop(tag, None)
                else:
                    self._by_tag[tag] = link

    # ---- the connections

    async def keep_connected(self) -> None:
        """Connect to every primary, and again whenever that changes; runs until cancelled. Raises AgreementMismatch."""
        attempt = 0
        try:
            while True:
                self._news.clear()
                is_whole = await self._look()
                self._house()
                attempt = 0 if is_whole else attempt + 1
                pause = LOOK_SECONDS if is_whole else RECONNECT_SECONDS[min(attempt, len(RECONNECT_SECONDS)) - 1]
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._news.wait()
                await asyncio.sleep(RECONNECT_SECONDS[0])  # news come many at a time
        finally:
            for link in list(self._links.values()):
                link.abort()

    def _house(self) -> None:
        """Send on what waited for a connection; it fails where there is none."""
        homeless, self._homeless = self._homeless, []
        for command, waiter, is_script in homeless:
            self.send(command, waiter, is_script=is_script)

    async def _look(self) -> bool:
        """Learn who the primaries are and connect to those that are not; whether each partition has a connection."""
        views = await self._ask_around()
        if not views:
            log.warning("no server of the Redis cluster can be reached")
            return False
        [(ranges, votes)] = Counter(views).most_common(1)
        self._primaries = [None] * SLOTS
        for one in ranges:
            self._primaries[one.first : one.last + 1] = [one.primary] * (one.last + 1 - one.first)
        primaries = {one.primary for one in ranges}
        for address in self._links.keys() - primaries:
            self._links[address].abort()
        await asyncio.gather(*(self._connect(address) for address in primaries - self._links.keys()))
        self._route(self._tags)
        return votes == len(views) and len(self._by_tag) == sum(map(len, self._tags.values()))

    async def _ask_around(self) -> list[tuple[Range, ...]]:
        """Who has which slots, as each server says that is connected; where none does, as one of the setting says."""
        links = list(self._links.items())
        answers = await asyncio.gather(*(_ask(link, host) for (host, _), link in links), return_exceptions=True)
        views: list[tuple[Range, ...]] = []
        for answer in answers:
            if isinstance(answer, CONNECTING_FAILED):
                log.warning("a server of the Redis cluster does not tell its slots: %s", answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                views.append(answer)
        for seed in self._seeds:
            if not views:
                views = await _ask_server(seed)
        return views

    async def _connect(self, address: Address) -> None:
        """Connect to a primary, or say why not."""
        server = Server(node_url(self._url, address), self._fingerprint)
        try:
            link, is_agreed = await server.connect(self._when_lost(address))
        except CONNECTING_FAILED as error:
            log.warning("Redis at %s:%d cannot be reached: %s", *address, error or type(error).__name__)
            return
        link.on_moved = self._send_on
        self._is_agreed = self._is_agreed or is_agreed
        self._links[address] = link
        log.info("connected to Redis at %s:%d", *address)
        await compare_durability(link, self._durability)

    def _when_lost(self, address: Address) -> Callable[[], None]:
        def forget() -> None:
            if self._links.pop(address, None) is not None:
                self.note_seen()
                self._route(self._tags)
                self._news.set()

        return forget


async def _ask(link: Link, host: str) -> tuple[Range, ...]:
    reply = Awaited()
    link.send(_CLUSTER_SLOTS, reply, may_resend=False)
    return tuple(read_ranges(await reply.future, host))


async def _ask_server(server: Server) -> list[tuple[Range, ...]]:
    """Who has which slots, over a connection of its own; nothing where it does not say."""
    try:
        link, _ = await server.connect(lambda: None)
        try:
            return [await _ask(link, server.host)]
        finally:
            link.abort()
    except CONNECTING_FAILED as error:
        log.warning("Redis at %s cannot be reached: %s", server.host, error or type(error).__name__)
        return []
