"""The edge and the streams held against the ledger."""

import asyncpg

from app.embedded.valkey import EmbeddedValkey
from app.ledger.edge_proof import PROVED, UNREACHABLE
from app.ledger.verify import VerifyReport, verify
from app.wire import keys
from app.wire.ids import derived_id
from app.wire.reservations import ReservationState
from tests.flusher.world import CREDIT, World


def shown(report: VerifyReport) -> list[tuple[int, str]]:
    """Invariant and row of each finding."""
    return [(found.finding.invariant, found.finding.row) for found in report.findings]


async def settle(world: World) -> int:
    """One customer with one posted event, and rejected ones around it; the partition."""
    await world.customer("u", 100)
    async with world.flusher():
        await world.use("u", "first", 1)
        partition = world.redis.partition(world.ref("u"))
        fields = {"a": world.ref("u"), "k": "u", "t": "1", "r": "1", "c": "5", "p": b"\xc1"}
        await world.redis.client.xadd(keys.stream(partition), fields)
        await world.redis.client.xadd(keys.stream(partition), {"x": "?"})
        await world.use("u", "second", 2)
        await world.posted(2)
        await world.at_rest("u")
    return partition


async def move_cursor(world: World, partition: int, last_id: str) -> None:
    """As a flusher might that skips entries."""
    connection = await asyncpg.connect(world.urls["owner"])
    await connection.execute("UPDATE stream_cursors SET last_id = $2 WHERE partition = $1", partition, last_id)
    await connection.close()


async def test_what_is_before_the_cursor_was_posted_or_rejected(world: World) -> None:
    """38: the entries that the stream has still are looked at one by one; an event that was skipped is named."""
    partition = await settle(world)
    report = await world.verify()
    assert (report.findings, report.edge) == ([], PROVED)
    assert report.counts["stream_entries"] >= 4
    assert report.counts["rejected_events"] == 2
    await world.use("u", "skipped", 1)
    assert (await world.verify()).findings == []
    [(last_id, _)] = await world.redis.client.xrevrange(keys.stream(partition), count=1)
    await move_cursor(world, partition, last_id.decode())
    event_id = derived_id(world.ref("u"), b"skipped")
    assert shown(await world.verify()) == [(38, f"usage_events {event_id}")]


async def test_reservations_that_were_opened_again(world: World) -> None:
    """38: each entry is told by the row of its time, an opening that was skipped by none."""
    await world.customer("u", 100)
    async with world.flusher():
        await world.reserve("u", 1, 5)
        await world.end("u", 1, ReservationState.RELEASED, 5)
        await world.reserve("u", 1, 7)
        await world.at_rest("u")
    assert (await world.verify()).findings == []
    async with world.flusher():
        await world.end("u", 1, ReservationState.COMMITTED, 7, 3)
        await world.at_rest("u")
    assert (await world.verify()).findings == []
    reservation_id = await world.reserve("u", 1, 9)
    partition = world.redis.partition(world.ref("u"))
    [(last_id, _)] = await world.redis.client.xrevrange(keys.stream(partition), count=1)
    await move_cursor(world, partition, last_id.decode())
    assert shown(await world.verify()) == [(38, f"reservations {reservation_id}")]


async def test_no_cursor_is_beyond_its_stream(world: World) -> None:
    """38: as where Redis has lost what it had acknowledged."""
    partition = await settle(world)
    await move_cursor(world, partition, "9999999999999-0")
    assert shown(await world.verify()) == [(38, f"stream_cursors {partition}")]


async def test_the_edge_has_what_was_published(world: World) -> None:
    """34, 42: another base is found, and so is what was accepted and is nowhere."""
    partition = await settle(world)
    account = keys.account(partition, world.ref("u"))
    [account_id] = [row["id"] for row in await world.ledger("SELECT id FROM accounts")]
    await world.redis.client.hincrby(account, "accepted", CREDIT)
    assert shown(await world.verify()) == [(34, f"accounts {account_id}")]
    await world.redis.client.hincrby(account, "accepted", -CREDIT)
    await world.redis.client.hincrby(account, "base", CREDIT)
    assert shown(await world.verify()) == [(42, f"accounts {account_id}")]


async def test_without_redis_the_ledger_is_proved_all_the_same(world: World, valkey: EmbeddedValkey) -> None:
    """And the report says that the edge was not."""
    await settle(world)
    valkey.stop()
    report = await verify(world.urls["owner"], world.redis, None, None)
    assert (report.findings, report.edge, report.counts["events"]) == ([], UNREACHABLE, 2)
    valkey.start()
