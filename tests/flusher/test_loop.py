"""The flusher on real stores: what breaks between any two of its steps is made good by the next turn."""

import shutil
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from app.embedded.valkey import EmbeddedValkey
from app.flusher import store
from app.flusher.store import Fenced
from app.flusher.writer import Batch, Writer
from app.io.postgres import Database, Transaction
from app.io.redis import RedisUnavailable
from app.io.stream import StreamConnection
from app.wire import keys
from app.wire.events import parse_entry
from tests.flusher.world import AGREEMENT, CREDIT, World
from tests.waiting import wait_until_async


async def test_an_entry_that_cannot_be_posted_is_rejected_and_the_rest_goes_on(world: World) -> None:
    """Unreadable entries and entries of nobody are listed; their partition's other entries are posted."""
    async with world.flusher():
        await world.customer("good", 100)
        await world.use("good", "first", 1)
        partition = world.redis.partition(world.ref("good"))
        fields = {"a": world.ref("good"), "k": "u", "t": "1", "r": "1", "c": "5", "p": b"\xc1"}
        await world.redis.client.xadd(keys.stream(partition), fields)
        await world.redis.client.xadd(keys.stream(partition), fields | {"a": world.ref("nobody")})
        await world.redis.client.xadd(keys.stream(partition), {"x": "?"})
        await world.use("good", "second", 2)
        await world.posted(2)
        rejected = await world.ledger("SELECT end_user_id, code FROM rejected_events ORDER BY stream_id")
        assert [tuple(row) for row in rejected] == [("good", "unreadable_entry"), ("nobody", "unknown_customer")]
        assert (await world.ledger("SELECT applied_micro FROM accounts"))[0]["applied_micro"] == 3 * CREDIT + 5


async def test_a_fenced_writer_commits_nothing(world: World) -> None:
    """Neither with a lease that somebody else has, nor with a cursor that somebody else moved."""
    async with world.flusher():
        await world.customer("kept", 100)
    await world.use("kept", "one", 10)
    database = await Database.open(world.urls["quotastack_flusher"], "test", 1)
    stream = await StreamConnection.connect(world.redis_url, AGREEMENT)
    partition, owner = world.redis.partition(world.ref("kept")), uuid4()
    raw = (await stream.read({partition: (0, 0)}, 10, 100))[partition]
    entries = [parse_entry(stream_id, fields) for stream_id, fields in raw]

    async def take(tx: Transaction) -> set[int]:
        return await store.renew_leases(tx, AGREEMENT.partitions, owner, timedelta(seconds=30))

    async def cursors(tx: Transaction) -> dict[int, object]:
        return dict(await store.fence(tx, [partition], owner))

    assert await database.run(None, take) == set(range(AGREEMENT.partitions))
    cursor = (await database.run(None, cursors))[partition]
    batch = Batch({partition: cursor}, {partition: entries})  # type: ignore[dict-item]
    with pytest.raises(Fenced, match="leases lost"):
        await Writer(database, world.clock, uuid4(), "UTC").post(batch)
    await Writer(database, world.clock, owner, "UTC").post(batch)
    with pytest.raises(Fenced, match="cursors moved"):
        await Writer(database, world.clock, owner, "UTC").post(batch)
    events = await world.ledger("SELECT cost_micro FROM usage_events")
    assert [row["cost_micro"] for row in events] == [10 * CREDIT]
    await stream.close()
    await database.run(None, lambda tx: store.release_leases(tx, owner))
    await database.close()


async def test_what_was_committed_and_not_published_is_published_by_the_successor(world: World) -> None:
    """A crash between commit and publish leaves the edge with old figures only until somebody takes over."""
    await test_a_fenced_writer_commits_nothing(world)
    before = await world.view("kept")
    assert (before.base_micro, before.available_micro) == (100 * CREDIT, 90 * CREDIT)
    async with world.flusher():

        async def is_published() -> bool:
            return (await world.view("kept")).base_micro == 90 * CREDIT

        await wait_until_async(is_published, 10, "the committed batch to be published")
        assert (await world.view("kept")).available_micro == 90 * CREDIT
        assert (await world.verify()).findings == []


async def test_memory_that_went_back_is_noticed(world: World, valkey: EmbeddedValkey, tmp_path: Path) -> None:
    """Redis comes back with an older copy of its data: what the ledger has stays, what is sent again counts once."""
    async with world.flusher():
        await world.customer("back", 100)
        await world.use("back", "kept", 1)
        await world.posted(1)
        await world.at_rest("back")
    valkey.stop()
    shutil.copytree(valkey.directory, tmp_path / "copy")
    valkey.start()
    async with world.flusher():
        await world.use("back", "forgotten by Redis", 10)
        await world.posted(2)
        await world.at_rest("back")
    valkey.stop()
    shutil.rmtree(valkey.directory)
    shutil.copytree(tmp_path / "copy", valkey.directory)
    valkey.start()
    async with world.flusher():

        async def is_corrected() -> bool:
            return (await world.view("back")).available_micro == 89 * CREDIT

        await wait_until_async(is_corrected, 10, "the account to be loaded from the ledger")
        await world.use("back", "forgotten by Redis", 10)
        await world.use("back", "new", 1)
        await world.posted(3)
        assert (await world.at_rest("back")).available_micro == 88 * CREDIT
        assert (await world.verify()).findings == []


async def test_debt_is_paid_by_the_next_entry_that_knows_of_credit(world: World) -> None:
    """Usage beyond the balance is debt; a grant does not touch it, the next entry pays it from the grant first."""
    async with world.flusher():
        customer_id = await world.customer("owing", 10)
        await world.use("owing", "too much", 15)
        await world.posted(1)
        await world.grant(customer_id, 100)
        assert (await world.view("owing")).available_micro == 95 * CREDIT
        await world.use("owing", "more", 1)
        await world.posted(2)
        kinds = [row["kind"] for row in await world.ledger("SELECT kind FROM ledger_transactions ORDER BY seq")]
        assert kinds == ["grant", "usage", "grant", "debt_payment", "usage"]
        assert (await world.at_rest("owing")).available_micro == 94 * CREDIT
        assert (await world.verify()).findings == []


async def test_an_entry_that_no_table_takes_is_found_and_rejected(world: World) -> None:
    """Whatever a constraint refuses: the entry is listed under its own id, and everything around it is posted."""
    superuser = await asyncpg.connect(world.urls["owner"])
    await superuser.execute("ALTER TABLE usage_events ADD CHECK (units_micro <> 13000000)")
    await superuser.close()
    await world.customer("unlucky", 100)
    async with world.flusher():
        for units in (1, 2, 13, 4):
            await world.use("unlucky", f"use {units}", units)
        await world.posted(3)

        async def is_listed() -> bool:
            rows = await world.ledger("SELECT end_user_id, code FROM rejected_events")
            return [tuple(row) for row in rows] == [("unlucky", "unreadable_entry")]

        await wait_until_async(is_listed, 10, "the entry to be listed as rejected")
        at_rest = await world.at_rest("unlucky")
        assert (at_rest.base_micro, at_rest.applied_micro) == (93 * CREDIT, 20 * CREDIT)
        assert (await world.verify()).findings == []


async def test_a_broken_connection_is_never_replaced_in_passing(world: World) -> None:
    """Whoever reads the stream learns that the connection was lost: behind the next one may be another server."""
    stream = await StreamConnection.connect(world.redis_url, AGREEMENT)
    before = await stream.inspect([0])
    await world.redis.client.client_kill_filter(_type="normal", skipme=True)
    for _ in range(2):
        with pytest.raises(RedisUnavailable):
            await stream.inspect([0])
    await stream.reopen()
    assert await stream.inspect([0]) == before
    await stream.close()
