"""A cluster of Redis as one client: each command goes to the server that has its key, a pipeline to all of its servers.

Servers are reached through plain clients, which send a command once. A command that its server says belongs elsewhere
did not run, and may be sent there; nothing else is ever sent again.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.commands import AsyncCoreCommands
from redis.exceptions import ClusterDownError, MovedError, RedisError
from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import TimeoutError as Late

from app.wire import keys
from app.wire.slots import SLOTS, Address, Range, node_url, node_urls, read_ranges, slot_of

LOOK_SECONDS = 1.0
"""What a server has to say who has which slots."""
MOST_MOVES = 5
"""How often one command is sent on, while servers disagree on who has its slot."""
_LOST = (Unreachable, Late, ClusterDownError)
"""After these the primaries may be others."""
_SCRIPTS = ("EVALSHA", "EVAL")
_EVERYWHERE = ("SCRIPT LOAD",)
_FIRST_SCRIPT_KEY = 3
Result = TypeVar("Result")
Answer = Any
Command = tuple[tuple[Any, ...], dict[str, Any]]


async def run_all(work: Iterable[Awaitable[Result]]) -> list[Result]:
    """Run all to their end; then raise what the first raised that failed."""
    answers = await asyncio.gather(*work, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return [answer for answer in answers if not isinstance(answer, BaseException)]


def key_of(command: Sequence[Any]) -> bytes | None:
    """The first key of a command; None where it has none and is for every server."""
    if command[0] in _EVERYWHERE or len(command) == 1:
        return None
    if command[0] == "XREAD":
        return command[command.index("STREAMS") + 1]
    return command[_FIRST_SCRIPT_KEY] if command[0] in _SCRIPTS else command[1]


class _Commands(AsyncCoreCommands):
    """All commands by name; what they come to is `execute_command`."""

    _event_dispatcher: Any = None  # of an authentication that we do not use; redis-py asks for it


class ClusterClient(_Commands):
    """The part of redis-py's client that this product uses, on the primaries of a cluster.

    `follows`: the primaries are learned again where one is lost or has given a slot away. Else that is an error, until
    `reconnect`.
    """

    def __init__(self, url: str, make_client: Callable[[str], Redis], *, follows: bool) -> None:
        self._url = url
        self._make_client = make_client
        self.follows = follows
        self._primaries: list[Address | None] = [None] * SLOTS
        self._clients: dict[Address, Redis] = {}
        self._learning = asyncio.Lock()
        self._is_stale = True

    async def aclose(self) -> None:
        """Close all connections."""
        clients, self._clients, self._is_stale = self._clients, {}, True
        await run_all(client.aclose() for client in clients.values())

    async def reconnect(self) -> None:
        """Connections to all primaries as they are now, each opened anew; what those have that are away nobody has.

        Raises where all are away.
        """
        for client in self._clients.values():
            await client.connection_pool.disconnect()
        await self._learn()
        reached = await asyncio.gather(*(_is_reached(client) for client in self._clients.values()))
        away = {
            address: self._clients[address] for address, there in zip(self._clients, reached, strict=True) if not there
        }
        if len(away) == len(self._clients):
            raise Unreachable("no primary of the cluster can be reached")
        for address, client in away.items():
            del self._clients[address]
            await client.aclose()
        self._primaries = [None if primary in away else primary for primary in self._primaries]

    # ---- who has what

    async def server_of(self, key: bytes) -> Any:  # noqa: ANN401 - redis-py types little
        """The client of the server that has the key."""
        await self._learn_where_stale()
        address = self._primaries[slot_of(key)]
        if address is None:
            raise Unreachable("no server of the cluster has this key")
        return self._clients[address]

    def has(self, key: bytes) -> bool:
        """Whether there is a server that has the key, as of the last look."""
        return self._primaries[slot_of(key)] is not None

    async def partitions_by_server(self, partitions: Iterable[int]) -> list[tuple[Any, list[int]]]:
        """Each server's client, and which of the partitions it has."""
        found: dict[int, tuple[Any, list[int]]] = {}
        for partition in partitions:
            server = await self.server_of(keys.tag(partition))
            found.setdefault(id(server), (server, []))[1].append(partition)
        return list(found.values())

    async def split(self, partitions: Iterable[int]) -> list[list[int]]:
        """The partitions by server, as of the last look; together too those that no server has."""
        await self._learn_where_stale()
        found: dict[Address | None, list[int]] = {}
        for partition in partitions:
            found.setdefault(self._primaries[slot_of(keys.tag(partition))], []).append(partition)
        return list(found.values())

    async def servers(self) -> list[Any]:
        """A client for each primary."""
        await self._learn_where_stale()
        return list(self._clients.values())

    async def _learn_where_stale(self) -> None:
        if not self._clients or (self._is_stale and self.follows):
            async with self._learning:
                if self._is_stale:
                    await self._learn()

    async def _learn(self) -> None:
        """Who has which slots, as most servers say; where none answers, as one does that the setting names."""
        answers = await asyncio.gather(
            *(_ask(client, address[0]) for address, client in self._clients.items()), return_exceptions=True
        )
        views = [answer for answer in answers if not isinstance(answer, BaseException)]
        for url in node_urls(self._url):
            if not views:
                views = await self._ask_at(url)
        if not views:
            raise Unreachable("no server of the cluster can be reached")
        [(ranges, _)] = Counter(views).most_common(1)
        self._primaries = [None] * SLOTS
        for one in ranges:
            self._primaries[one.first : one.last + 1] = [one.primary] * (one.last + 1 - one.first)
        primaries = {one.primary for one in ranges}
        gone = [self._clients.pop(address) for address in self._clients.keys() - primaries]
        for address in primaries:
            self._ensure_client(address)
        self._is_stale = False
        await run_all(client.aclose() for client in gone)

    async def _ask_at(self, url: str) -> list[tuple[Range, ...]]:
        client = self._make_client(url)
        try:
            return [await _ask(client, client.connection_pool.connection_kwargs.get("host", ""))]
        except (*_LOST, TimeoutError):
            return []
        finally:
            await client.aclose()

    def _ensure_client(self, address: Address) -> None:
        if address not in self._clients:
            self._clients[address] = self._make_client(node_url(self._url, address))

    async def note_moved(self, error: Answer) -> None:
        """A slot has another server, says a MovedError. Raises it where that is not followed."""
        if not self.follows:
            raise error
        async with self._learning:
            await self._learn()
            known_host = next(iter(self._clients))[0]
            address = (error.host or known_host, error.port)  # this server knows it before most others may
            self._ensure_client(address)
            self._primaries[error.slot_id] = address

    def note_lost(self) -> None:
        """A server did not answer: the primaries may be others by now."""
        self._is_stale = True

    # ---- commands

    async def execute_command(self, *command: Answer, **options: Answer) -> Answer:
        """One command where its key is; without a key everywhere, and what the first says that answers."""
        key = key_of(command)
        if key is None:
            return await self._run_everywhere(command, options)
        for _ in range(MOST_MOVES):
            server = await self.server_of(key)
            try:
                return await server.execute_command(*command, **options)
            except MovedError as error:
                await self.note_moved(error)
            except _LOST:
                self.note_lost()
                raise
        raise Unreachable("the servers of the cluster do not agree on who has a key")

    async def _run_everywhere(self, command: Sequence[Answer], options: dict[str, Answer]) -> Answer:
        work = [server.execute_command(*command, **options) for server in await self.servers()]
        answers = await asyncio.gather(*work, return_exceptions=True)
        if any(isinstance(answer, _LOST) for answer in answers):
            self.note_lost()
        good = [answer for answer in answers if not isinstance(answer, BaseException)]
        if not good:
            raise answers[0]
        return good[0]

    def pipeline(self, *, transaction: bool) -> "ClusterPipeline":
        """Commands that travel together; with `transaction`, those of one slot run at one moment."""
        return ClusterPipeline(self, is_transaction=transaction)


class ClusterPipeline(_Commands):
    """Commands of one pipeline, cut by server (or slot), each part in the order in which they came."""

    def __init__(self, client: ClusterClient, *, is_transaction: bool) -> None:
        self._client = client
        self._is_transaction = is_transaction
        self._commands: list[Command] = []

    def execute_command(self, *command: Answer, **options: Answer) -> "ClusterPipeline":
        """Queue a command."""
        self._commands.append((command, options))
        return self

    async def execute(self, *, raise_on_error: bool = True) -> list[Answer]:
        """Run all that was queued; the answers in its order. What is for every server goes before the rest."""
        answers: list[Answer] = [None] * len(self._commands)
        everywhere = [number for number, (command, _) in enumerate(self._commands) if key_of(command) is None]
        left = [number for number in range(len(answers)) if number not in everywhere]
        for _ in range(MOST_MOVES):
            parts = await self._cut(left)
            await run_all(self._run_part(server, [*everywhere, *part], answers) for server, part in parts)
            moved = [number for number in left if isinstance(answers[number], MovedError)]
            if not moved:
                break
            await self._client.note_moved(answers[moved[0]])
            left = moved
        if raise_on_error:
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
        return answers

    async def _cut(self, numbers: Iterable[int]) -> list[tuple[Any, list[int]]]:
        """The commands by who runs them together."""
        parts: dict[tuple[int, int], tuple[Any, list[int]]] = {}
        for number in numbers:
            key = key_of(self._commands[number][0]) or b""
            server = await self._client.server_of(key)
            together = (id(server), slot_of(key) if self._is_transaction else 0)
            parts.setdefault(together, (server, []))[1].append(number)
        return list(parts.values())

    async def _run_part(self, server: Any, numbers: list[int], answers: list[Answer]) -> None:  # noqa: ANN401 - as above
        pipe = server.pipeline(transaction=self._is_transaction)
        for number in numbers:
            command, options = self._commands[number]
            pipe.execute_command(*command, **options)
        try:
            found = await pipe.execute(raise_on_error=False)
        except MovedError as error:  # of a transaction: nothing of it has run
            found = [error] * len(numbers)
        except _LOST:
            self._client.note_lost()
            raise
        for number, answer in zip(numbers, found, strict=True):
            answers[number] = answer
            if isinstance(answer, _LOST):
                self._client.note_lost()


async def _is_reached(client: Any) -> bool:  # noqa: ANN401 - redis-py types little
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            await client.ping()
    except (RedisError, TimeoutError):
        return False
    return True


async def _ask(client: Any, host: str) -> tuple[Range, ...]:  # noqa: ANN401 - redis-py types little
    async with asyncio.timeout(LOOK_SECONDS):
        return tuple(read_ranges(await client.execute_command("CLUSTER", "SLOTS"), host))
