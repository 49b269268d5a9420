"""The stream as the flusher sees it: one connection, whose server was looked at before anything is read or trimmed.

Every command that fails leaves the connection closed, and the next one opens another, perhaps to another server. So
after any RedisUnavailable the caller inspects again before it goes on. Of a cluster that is one connection to each
primary: where one of them is lost, or has given a slot away, all are opened anew and looked at. Partitions of a primary
that cannot be reached are away meanwhile, and the others go on.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from typing import Self
from uuid import UUID

import msgspec
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError  # noqa: A004 - what the client calls it

from app.io.cluster import ClusterClient
from app.io.redis import COMMAND_TIMEOUT_SECONDS, Answer, OneAttempt, RedisStore
from app.io.redis_pool import PackingPool
from app.wire import keys, scripts
from app.wire.agreement import Agreement
from app.wire.events import parse_stream_id, show_stream_id
from app.wire.slots import is_cluster

SCAN_COUNT = 1_000
TOKEN_SECONDS = 60
POLL_SECONDS = 0.05
"""Between two looks at a cluster that has nothing new."""
StreamId = tuple[int, int]
RawEntry = tuple[bytes, dict[bytes, bytes]]
"""(stream id, fields)."""


class PartitionMemory(msgspec.Struct, frozen=True):
    """What Redis remembers of a partition. `incarnation` None = nothing."""

    incarnation: UUID | None
    replication_id: str
    published: StreamId
    """The cursor of the last publish."""


class ServerIdentity(msgspec.Struct, frozen=True):
    """Whose memory this is: it changes with every restart; `promoted_from` is set where a replica took over."""

    replication_id: str
    promoted_from: str


class StreamConnection(RedisStore):
    """One connection to the streams, which never opens itself again: see `reopen`."""

    _is_sealed = False

    @classmethod
    async def connect(cls, url: str, agreement: Agreement, *, socket_timeout: float = COMMAND_TIMEOUT_SECONDS) -> Self:
        """A single connection whose agreement was compared."""

        async def open_when_asked(opened: AbstractConnection) -> None:
            if connection._is_sealed:
                raise ConnectionError("the connection was lost")
            await opened.on_connect()

        def make_client(url: str) -> Redis:
            pool = PackingPool.from_url(  # pyright: ignore[reportUnknownMemberType] - untyped in redis-py
                url,
                max_connections=1,
                timeout=COMMAND_TIMEOUT_SECONDS,
                protocol=2,
                socket_timeout=socket_timeout,
                socket_connect_timeout=COMMAND_TIMEOUT_SECONDS,
                redis_connect_func=open_when_asked,
                retry=OneAttempt(),
                retry_on_error=[],
            )
            client = Redis.from_pool(pool)
            for command in ("XREAD", "XRANGE"):
                client.set_response_callback(command, _as_it_came)
            return client

        client = ClusterClient(url, make_client, follows=False) if is_cluster(url) else make_client(url)
        connection = cls(client, agreement)
        await connection.reopen()
        await connection.check_agreement()
        return connection

    async def reopen(self) -> None:
        """Connect anew, perhaps to another server. The client would do so by itself, and nobody would look again."""
        self._is_sealed = False
        try:
            if isinstance(self.client, ClusterClient):
                await self.client.reconnect()
            else:
                await self.client.connection_pool.disconnect()
            if not isinstance(self.client, ClusterClient) or self.client.has(keys.AGREEMENT):
                await self.check_agreement()
        finally:
            self._is_sealed = True

    def is_away(self, partition: int) -> bool:
        """Whether no server was reached that has the partition, when the connections were opened."""
        return isinstance(self.client, ClusterClient) and not self.client.has(keys.tag(partition))

    async def _by_server(self, partitions: Iterable[int]) -> list[tuple[Answer, list[int]]]:
        """Each server's client, and which of the partitions it has."""
        if isinstance(self.client, ClusterClient):
            return await self.client.partitions_by_server(partitions)
        return [(self.client, list(partitions))]

    async def identify(self, partitions: Iterable[int]) -> dict[int, ServerIdentity]:
        """Which server answers for each partition."""
        found: dict[int, ServerIdentity] = {}
        for server, there in await self._by_server(partitions):
            info = await server.info("replication")
            found |= dict.fromkeys(there, ServerIdentity(info["master_replid"], info["master_replid2"]))
        return found

    async def inspect(self, partitions: Iterable[int]) -> dict[int, PartitionMemory]:
        """What Redis remembers of each partition."""
        asked = list(partitions)
        pipe = self.client.pipeline(transaction=False)
        for partition in asked:
            pipe.hmget(keys.meta(partition), "incarnation", "replication_id", "published")
        answers = await pipe.execute()
        return {partition: _memory(answer) for partition, answer in zip(asked, answers, strict=True)}

    async def read(
        self, cursors: Mapping[int, StreamId], count: int, block_milliseconds: int | None
    ) -> dict[int, list[RawEntry]]:
        """Entries after each partition's cursor, at most `count` of each; partitions without any are left out.

        Waits so long for the first entry where there are none; None = not at all.
        """
        if not isinstance(self.client, ClusterClient):
            return await self._read(cursors, count, block_milliseconds)
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + (block_milliseconds or 0) / 1_000
        while True:
            found = await self._read_slots(cursors, count)
            if found or loop.time() >= give_up_at:
                return found
            await asyncio.sleep(POLL_SECONDS)

    async def _read(
        self, cursors: Mapping[int, StreamId], count: int, block_milliseconds: int | None
    ) -> dict[int, list[RawEntry]]:
        partitions = list(cursors)
        answer = await self.client.execute_command(
            "XREAD",
            *("COUNT", count),
            *(() if block_milliseconds is None else ("BLOCK", block_milliseconds)),
            "STREAMS",
            *[keys.stream(partition) for partition in partitions],
            *[show_stream_id(cursors[partition]) for partition in partitions],
        )
        by_key = {keys.stream(partition): partition for partition in partitions}
        return {by_key[key]: [_entry(raw) for raw in entries] for key, entries in answer or ()}

    async def _read_slots(self, cursors: Mapping[int, StreamId], count: int) -> dict[int, list[RawEntry]]:
        """A command reads from one slot of a cluster, and while it waits there the others on its connection wait."""
        pipe = self.client.pipeline(transaction=False)
        for partition, after in cursors.items():
            stream, position = keys.stream(partition), show_stream_id(after)
            pipe.execute_command("XREAD", "COUNT", count, "STREAMS", stream, position)
        answers = zip(cursors, await pipe.execute(), strict=True)
        return {partition: [_entry(raw) for raw in answer[0][1]] for partition, answer in answers if answer}

    async def read_between(self, partition: int, after: StreamId, until: StreamId, count: int) -> list[RawEntry]:
        """Entries after one id up to and with another, at most `count`."""
        answer = await self.client.execute_command(
            "XRANGE", keys.stream(partition), f"({show_stream_id(after)}", show_stream_id(until), "COUNT", count
        )
        return [_entry(raw) for raw in answer]

    async def note_published(
        self, cursors: Mapping[int, tuple[UUID, StreamId]], trim_lag_milliseconds: int, kept_entries: int
    ) -> None:
        """Everything up to these (incarnation, id) is published.

        Flushed entries older than the lag go; where more than `kept_entries` are left, all that are flushed go.
        """
        pipe = self.client.pipeline(transaction=False)
        pipe.script_load(scripts.NOTE_PUBLISHED.text)
        for partition, (incarnation, (milliseconds, sequence)) in cursors.items():
            oldest_kept = (max(0, milliseconds - trim_lag_milliseconds), sequence)
            pipe.evalsha(
                scripts.NOTE_PUBLISHED.digest.decode(),
                2,
                keys.meta(partition),
                keys.stream(partition),
                incarnation.hex,
                show_stream_id((milliseconds, sequence)),
                show_stream_id(oldest_kept),
                kept_entries,
            )
        await pipe.execute()

    async def adopt(self, replication_ids: Mapping[int, str]) -> None:
        """The memory of these partitions is the one we know, on a server that was started again."""
        pipe = self.client.pipeline(transaction=False)
        for partition, replication_id in replication_ids.items():
            pipe.hset(keys.meta(partition), "replication_id", replication_id)
        await pipe.execute()

    async def close_incarnations(self, partitions: Iterable[int]) -> None:
        """No load can begin or end in these partitions from here on."""
        pipe = self.client.pipeline(transaction=False)
        for partition in partitions:
            pipe.hdel(keys.meta(partition), "incarnation")
        await pipe.execute()

    async def drop_accounts(self, partitions: Collection[int], new_token: bytes) -> AsyncIterator[int]:
        """Forget the accounts of these partitions, a page at a time: how many went. They are loaded again on demand.

        What they have used goes with them, and their open reservations, which come back with their account.
        """
        for server, there in await self._by_server(partitions):
            async for count in _drop_accounts(server, {keys.tag(partition) for partition in there}, new_token):
                yield count
        for partition in partitions:  # now none can be opened meanwhile
            async for _ in self._drop_reservations(partition):
                yield 0

    async def _drop_reservations(self, partition: int) -> AsyncIterator[int]:
        """Forget what is open of a partition, a page at a time. What has ended stays remembered for its window."""
        while found := await self.client.zrange(keys.due(partition), 0, SCAN_COUNT - 1):
            pipe = self.client.pipeline(transaction=False)
            for member in found:
                pipe.delete(keys.reservation_of(partition, member))
            pipe.zrem(keys.due(partition), *found)
            await pipe.execute()
            yield len(found)

    async def begin_incarnations(self, incarnations: Mapping[int, tuple[UUID, str]]) -> None:
        """The partitions' memory counts as new from here on, on the server with this replication id."""
        pipe = self.client.pipeline(transaction=False)
        for partition, (incarnation, replication_id) in incarnations.items():
            pipe.hset(
                keys.meta(partition),
                mapping={"incarnation": incarnation.hex, "replication_id": replication_id, "published": "0-0"},
            )
        await pipe.execute()


async def _drop_accounts(server: Answer, tags: Collection[bytes], new_token: bytes) -> AsyncIterator[int]:
    """Of partitions that one server has."""
    position = 0
    while True:
        position, found = await server.scan(position, match=keys.ANY_ACCOUNT, count=SCAN_COUNT)
        accounts = [key for key in found if keys.split_tag(key)[0] in tags]
        pipe = server.pipeline(transaction=False)
        for key in accounts:
            pipe.delete(key, keys.used_beside(key), *keys.gauges_of(key))
            pipe.set(keys.load_token_of(key), new_token, xx=True, ex=TOKEN_SECONDS)
        await pipe.execute()
        yield len(accounts)
        if not position:
            break


def _as_it_came(response: Answer, **_options: object) -> Answer:
    """Entries stay flat lists: the client would make pairs of every field first."""
    return response


def _entry(raw: tuple[bytes, list[bytes]]) -> RawEntry:
    stream_id, flat = raw
    in_turn = iter(flat)  # a name, its value, the next name
    return stream_id, dict(zip(in_turn, in_turn, strict=False))


def _memory(meta: list[bytes | None]) -> PartitionMemory:
    incarnation, replication_id, published = meta
    return PartitionMemory(
        None if incarnation is None else UUID(hex=incarnation.decode()),
        "" if replication_id is None else replication_id.decode(),
        (0, 0) if published is None else parse_stream_id(published),
    )
