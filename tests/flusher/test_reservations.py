"""Reservations on real stores: batch by batch, read again, and loaded again, they are what the stream said."""

from uuid import UUID

import asyncpg
import pytest

from app.wire import keys
from app.wire.reservations import ReservationExtension, ReservationState
from tests.flusher.world import CREDIT, World
from tests.waiting import wait_until_async

ROWS = "SELECT * FROM reservations ORDER BY id"
KINDS = "SELECT kind FROM ledger_transactions ORDER BY seq"


async def ended(world: World, number: int) -> None:
    """Wait until a reservation is open no more."""

    async def is_ended() -> bool:
        rows = await world.ledger(f"SELECT state FROM reservations WHERE id = '{UUID(int=number)}'")  # noqa: S608 - a number
        return bool(rows) and rows[0]["state"] != "open"

    await wait_until_async(is_ended, 20, f"the end of reservation {number}")


async def test_ends_in_later_batches_find_what_was_drawn(world: World) -> None:
    """Also where nothing was left of the block; the row, the event, the hour and the total say the same."""
    await world.customer("ada", 10)
    async with world.flusher():
        await world.reserve("ada", 1, 10)
        view = await world.at_rest("ada")
        assert view.available_micro == 0
        [account] = await world.ledger("SELECT reserved_micro, open_reservations, total_micro FROM accounts")
        assert tuple(account) == (10 * CREDIT, 1, 0)
        assert (await world.verify()).findings == []
        await world.end("ada", 1, ReservationState.COMMITTED, 10, used=7)
        await ended(world, 1)
        assert (await world.at_rest("ada")).available_micro == 3 * CREDIT
        await world.reserve("ada", 2, 3)
        await world.end("ada", 2, ReservationState.RELEASED, 3)
        await ended(world, 2)
        assert (await world.at_rest("ada")).available_micro == 3 * CREDIT
    first, second = await world.ledger(ROWS)
    assert (first["state"], first["used_micro"], first["opened_seq"], first["ended_seq"]) == (
        "committed",
        7 * CREDIT,
        2,
        3,
    )
    assert (second["state"], second["used_micro"]) == ("released", 0)
    assert (first["idempotency_key"], first["properties"]) == ("reserve 1", '{"a": 1}')
    [event] = await world.ledger("SELECT id, units_micro, cost_micro, idempotency_key FROM usage_events")
    assert tuple(event) == (UUID(int=1), 7 * CREDIT, 7 * CREDIT, "reserve 1")
    [hour] = await world.ledger("SELECT units_micro, events FROM usage_hours")
    assert tuple(hour) == (7 * CREDIT, 1)
    [account] = await world.ledger("SELECT reserved_micro, open_reservations FROM accounts")
    assert tuple(account) == (0, 0)
    report = await world.verify()
    assert report.findings == []
    assert report.counts["reservations"] == 2


async def test_a_batch_of_everything_is_posted_once(world: World) -> None:
    """32, 39: openings, ends and an extension in one batch, and the same stream read again by a new incarnation."""
    async with world.flusher():
        await world.customer("ada", 100)
    await world.reserve("ada", 1, 30, due_at=2_000_000_000_000_000)
    extension = ReservationExtension(reservation_id=UUID(int=1), feature_key="calls")
    await world.change("ada", extension, due_at=2_000_000_500_000_000)
    await world.reserve("ada", 2, 30)
    await world.end("ada", 1, ReservationState.COMMITTED, 30, used=45)
    await world.end("ada", 3, ReservationState.COMMITTED, 9, used=5)  # whose opening was lost
    await world.use("ada", "plain", 1)
    async with world.flusher():
        await world.posted(3)
    kinds = [row["kind"] for row in await world.ledger(KINDS)]
    assert kinds == ["grant", "reservation_opened", "reservation_opened", "reservation_committed", "usage"]
    before = [tuple(row) for row in await world.ledger(ROWS)]
    assert before[0][15].timestamp() == 2_000_000_500
    assert (await world.verify()).findings == []
    partition = world.redis.partition(world.ref("ada"))
    await world.redis.client.hset(keys.meta(partition), "replication_id", "another")
    async with world.flusher():
        await world.use("ada", "after", 1)
        await world.posted(4)
    assert [tuple(row) for row in await world.ledger(ROWS)] == before
    assert [row["kind"] for row in await world.ledger(KINDS)] == [*kinds, "usage"]
    assert (await world.verify()).findings == []


TAMPERINGS = {
    "opening": "GRANT DELETE ON reservations TO CURRENT_USER; DELETE FROM reservations",
    "end": "UPDATE reservations SET state = 'open', ended_at = NULL, ended_seq = NULL",
}


@pytest.mark.parametrize("lost", TAMPERINGS)
async def test_the_stream_is_held_against_the_rows(world: World, lost: str) -> None:
    """38: an opening, and an end, that are before the cursor and of which no row knows, are named."""
    await world.customer("ada", 100)
    async with world.flusher():
        await world.reserve("ada", 1, 30)
        if lost == "end":
            await world.end("ada", 1, ReservationState.RELEASED, 30)
            await ended(world, 1)
        await world.at_rest("ada")
    assert (await world.verify()).findings == []
    connection = await asyncpg.connect(world.urls["owner"])
    await connection.execute(TAMPERINGS[lost])
    await connection.close()
    found = [(f.finding.invariant, f.finding.row) for f in (await world.verify()).findings]
    assert (38, f"reservations {UUID(int=1)}") in found
