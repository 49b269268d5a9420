"""The way of core and flusher to a cluster: commands go where their keys are; what may have run is not sent again."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from app.io.redis import RedisStore, RedisUnavailable
from app.io.stream import StreamConnection
from app.wire import keys, scripts
from app.wire.agreement import Agreement
from tests.cluster.servers import Cluster
from tests.waiting import wait_until_async

AGREEMENT = Agreement(partitions=12)
EVERYWHERE = range(AGREEMENT.partitions)
RECOVERY_SECONDS = 10.0


@pytest.fixture
async def store(cluster: Cluster) -> AsyncIterator[RedisStore]:
    """As core has it, on empty servers."""
    cluster.empty()
    opened = await RedisStore.connect(cluster.url, AGREEMENT)
    yield opened
    await opened.close()


@pytest.fixture
async def stream(store: RedisStore, cluster: Cluster) -> AsyncIterator[StreamConnection]:
    """As the flusher has it."""
    opened = await StreamConnection.connect(cluster.url, store.agreement)
    yield opened
    await opened.close()


async def write_everywhere(client: Any) -> list[Any]:
    """One write in each partition, in one pipeline."""
    pipe = client.pipeline(transaction=False)
    for partition in EVERYWHERE:
        pipe.incrby(keys.stream(partition) + b":number", partition)
    return await pipe.execute()


async def test_a_pipeline_over_all_servers(store: RedisStore) -> None:
    """Answers come in the order of the commands; scripts are everywhere before what calls them; errors stay apart."""
    assert await write_everywhere(store.client) == list(EVERYWHERE)
    pipe = store.client.pipeline(transaction=False)
    pipe.script_load(scripts.TICK.text)
    for partition in EVERYWHERE:
        ref = b"%d" % partition
        names = keys.account(partition, ref), keys.stream(partition)
        pipe.evalsha(scripts.TICK.digest.decode(), 2, *names, 1, ref)
    assert (await pipe.execute())[1:] == [b"miss"] * len(EVERYWHERE)
    pipe = store.client.pipeline(transaction=True)
    for partition in EVERYWHERE:
        pipe.get(keys.stream(partition) + b":number")
        pipe.hget(keys.stream(partition) + b":number", "not a hash")
    answers = await pipe.execute(raise_on_error=False)
    assert [int(answer) for answer in answers[::2]] == list(EVERYWHERE)
    assert all(isinstance(answer, RedisUnavailable) for answer in answers[1::2])


async def test_a_slot_that_moved_is_followed(cluster: Cluster, store: RedisStore) -> None:
    """By a command and by a pipeline: what was turned away runs where it belongs, once."""
    await write_everywhere(store.client)
    cluster.move(0)
    assert await write_everywhere(store.client) == [2 * partition for partition in EVERYWHERE]
    cluster.move(1)
    assert await store.client.incrby(keys.stream(1) + b":number", 1) == 3


async def test_the_flusher_follows_nothing_in_passing(cluster: Cluster, stream: StreamConnection) -> None:
    """A slot that moved, or a connection that was lost, is an error until all are opened anew: it is another server."""
    before = await stream.identify(EVERYWHERE)
    for change in (lambda: cluster.move(0), lambda: cluster.primary_of(1).ask("CLIENT", "KILL", "TYPE", "normal")):
        await asyncio.to_thread(change)
        for _ in range(2):
            with pytest.raises(RedisUnavailable):
                await stream.inspect(EVERYWHERE)
        await stream.reopen()
        assert set(await stream.inspect(EVERYWHERE)) == set(EVERYWHERE)
    after = await stream.identify(EVERYWHERE)
    assert {partition for partition in EVERYWHERE if before[partition] != after[partition]} == {0}


async def test_each_partition_has_the_identity_of_its_server(
    cluster: Cluster, store: RedisStore, stream: StreamConnection
) -> None:
    """Two partitions have one identity, and are done together, where they are on one server, and only there."""
    found = await stream.identify(EVERYWHERE)
    servers = {partition: cluster.primary_of(partition).port for partition in EVERYWHERE}
    assert len(set(servers.values())) == 3
    for one in EVERYWHERE:
        for other in EVERYWHERE:
            assert (found[one] == found[other]) == (servers[one] == servers[other])
    together = await store.partitions_by_server()
    assert sorted(partition for some in together for partition in some) == list(EVERYWHERE)
    assert [len({servers[partition] for partition in some}) for some in together] == [1, 1, 1]


async def test_a_reader_waits_at_all_servers(store: RedisStore, stream: StreamConnection) -> None:
    """An entry is read soon wherever it comes; without one the wait has its bound."""
    positions = dict.fromkeys(EVERYWHERE, (0, 0))
    assert await stream.read(positions, 10, 100) == {}
    for partition in EVERYWHERE:
        reading = asyncio.create_task(stream.read(positions, 10, 60_000))
        await asyncio.sleep(0)
        entry_id = await store.client.xadd(keys.stream(partition), {"p": partition})
        found = await asyncio.wait_for(reading, RECOVERY_SECONDS)
        assert found == {partition: [(entry_id, {b"p": b"%d" % partition})]}
        del positions[partition]


async def test_a_primary_is_lost(cluster: Cluster, store: RedisStore, stream: StreamConnection) -> None:
    """What was on its way fails; what comes later goes to the replica, for the flusher once it has looked again."""
    await write_everywhere(store.client)
    lost = cluster.primary_of(0)
    replica = cluster.replica_of(lost)
    cluster.wait_copied(lost)
    before = await stream.identify(EVERYWHERE)
    await asyncio.to_thread(cluster.kill, lost, replica)
    with pytest.raises(RedisUnavailable):
        await store.client.get(keys.stream(0))
    with pytest.raises(RedisUnavailable):
        await stream.identify(EVERYWHERE)

    async def is_back() -> bool:
        try:
            await stream.reopen()
            return int(await store.client.incrby(keys.stream(0) + b":number", 7)) > 0
        except RedisUnavailable:
            return False

    await wait_until_async(is_back, RECOVERY_SECONDS, "the replica to be used")
    after = await stream.identify(EVERYWHERE)
    changed = {partition for partition in EVERYWHERE if before[partition] != after[partition]}
    assert changed == {partition for partition in EVERYWHERE if cluster.primary_of(partition) is replica}
    assert {after[partition].promoted_from for partition in changed} == {before[0].replication_id}


async def test_accounts_of_all_servers_are_dropped(store: RedisStore, stream: StreamConnection) -> None:
    """Those of the partitions that are named, on whichever server they are; no others."""
    refs = {partition: keys.account_ref(keys.environment_ref(uuid4()), "x") for partition in EVERYWHERE}
    for partition, ref in refs.items():
        await store.client.hset(keys.account(partition, ref), "base", 1)
    dropped = [partition for partition in EVERYWHERE if partition % 2]
    assert sum([count async for count in stream.drop_accounts(dropped, b"token")]) == len(dropped)
    left = [p for p, ref in refs.items() if await store.client.exists(keys.account(p, ref))]
    assert left == [partition for partition in EVERYWHERE if partition not in dropped]


async def test_nobody_there() -> None:
    """An address at which no server answers is an error at once."""
    with pytest.raises(RedisUnavailable):
        await RedisStore.connect("redis+cluster://127.0.0.1:9", AGREEMENT)
