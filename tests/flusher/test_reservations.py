"""Reservations on real stores: batch by batch, read again, and loaded again, they are what the stream said."""

import asyncio
from datetime import timedelta
from uuid import UUID

import asyncpg
import msgspec
import pytest

from app.entitlements.loading import load_reservation
from app.io.postgres import Database
from app.io.stream import StreamConnection
from app.jobs.reload import Reloader
from app.rules.moments import NEVER_AT
from app.rules.pricing import PerUnitPrice
from app.wire import ids, keys
from app.wire.events import UsagePayload, encode_usage
from app.wire.held import decode_facts
from app.wire.reservations import ReservationExtension, ReservationState
from tests.flusher.world import AGREEMENT, CREDIT, World
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


async def test_credit_that_comes_while_it_is_open_is_drawn_first(world: World) -> None:
    """A commit above what was reserved draws it first, then the reserved block again, which its row names once."""
    now = world.clock.now()
    customer_id = await world.customer("ada", 10, now + timedelta(days=2))
    async with world.flusher():
        await world.reserve("ada", 1, 1)
        await world.at_rest("ada")
        await world.grant(customer_id, 1, now + timedelta(days=1))
        await world.end("ada", 1, ReservationState.COMMITTED, 1, used=5)
        await ended(world, 1)
    [event] = await world.ledger("SELECT draws FROM usage_events")
    blocks = await world.ledger("SELECT id, remaining_micro FROM credit_blocks ORDER BY expires_at")
    drawn = [(UUID(block_id), micro) for block_id, micro in msgspec.json.decode(event["draws"])]
    assert drawn == [(blocks[1]["id"], 4 * CREDIT), (blocks[0]["id"], 1 * CREDIT)]
    assert [row["remaining_micro"] for row in blocks] == [0, 6 * CREDIT]
    assert (await world.verify()).findings == []


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


async def held_in_redis(world: World, number: int) -> dict[bytes, bytes]:
    """The hash of a reservation."""
    ref = world.ref("ada")
    name = keys.reservation(world.redis.partition(ref), ref[: keys.ENVIRONMENT_REF_LENGTH], UUID(int=number))
    return await world.redis.client.hgetall(name)


async def lose_memory(world: World) -> None:
    """Redis comes back empty, and a flusher begins anew."""
    await world.redis.client.flushall()
    await world.redis.check_agreement()
    async with world.flusher():
        await world.view("ada")


async def test_an_account_comes_back_with_what_is_open(world: World) -> None:
    """After a loss of memory: with what its commits are priced by, and due when it was."""
    async with world.flusher():
        await world.customer("ada", 100)
        await world.reserve("ada", 1, 20)
        await world.end("ada", 1, ReservationState.COMMITTED, 20, used=20)
        await world.reserve("ada", 2, 30)
        await ended(world, 1)
        await world.at_rest("ada")
    await lose_memory(world)
    view = await world.view("ada")
    assert (view.available_micro, view.reserved_micro) == (50 * CREDIT, 30 * CREDIT)
    held = await held_in_redis(world, 2)
    facts = decode_facts(held[b"facts"])
    assert (held[b"state"], held[b"reserved"], held[b"ref"]) == (b"open", b"%d" % (30 * CREDIT), world.ref("ada"))
    assert (facts.feature_key, facts.price_id, facts.units_micro) == ("calls", world.price_id, 30 * CREDIT)
    assert facts.price == PerUnitPrice(CREDIT, 1)
    due, member = await due_in_redis(world), keys.due_member(world.ref("ada")[:22], UUID(int=2))
    assert due == [(member, float(NEVER_AT))]
    assert await held_in_redis(world, 1) == {}


async def due_in_redis(world: World) -> list[tuple[bytes, float]]:
    """What is open in ada's partition."""
    partition = world.redis.partition(world.ref("ada"))
    return await world.redis.client.zrange(keys.due(partition), 0, -1, withscores=True)


async def test_a_new_incarnation_forgets_what_is_open(world: World) -> None:
    """With its account, and with what that has used; what has ended stays remembered."""
    await test_an_account_comes_back_with_what_is_open(world)
    partition, ref = world.redis.partition(world.ref("ada")), world.ref("ada")
    await world.redis.client.hset(keys.used(partition, ref), "calls", 5)
    stream = await StreamConnection.connect(world.redis_url, AGREEMENT)
    dropped = [count async for count in stream.drop_accounts([partition], b"token")]
    await stream.close()
    assert sum(dropped) == 1
    assert (await due_in_redis(world), await held_in_redis(world, 2)) == ([], {})
    assert not await world.redis.client.exists(keys.account(partition, ref), keys.used(partition, ref))


async def test_a_reservation_is_loaded_for_an_edge(world: World) -> None:
    """An open one with its account, one that has ended for a while, as it ended; what never was is unknown."""
    async with world.flusher():
        await world.customer("ada", 100)
        for number in (1, 2, 3, 4):
            await world.reserve("ada", number, 10)
        await world.end("ada", 1, ReservationState.COMMITTED, 10, used=7)
        await world.end("ada", 2, ReservationState.RELEASED, 10)
        await world.end("ada", 3, ReservationState.EXPIRED, 10)
        late = UsagePayload(UUID(int=3), "calls", 2 * CREDIT, world.price_id, None, None, None)
        await world.append("ada", "u", encode_usage(late), 2)
        await world.posted(2)
        await world.at_rest("ada")
    assert (await world.verify()).findings == []
    await lose_memory(world)
    left = 100 - 7 - 2 - 10
    expected = {
        1: {
            "state": "committed",
            "ended_asked": str(7 * CREDIT),
            "ended": f"{7 * CREDIT}:{3 * CREDIT}:{left * CREDIT}:0",
        },
        2: {"state": "released", "ended_asked": "", "ended": f"0:{10 * CREDIT}:{left * CREDIT}:0"},
        3: {"state": "expired", "late_asked": str(2 * CREDIT), "late": f"{2 * CREDIT}:0:{left * CREDIT}:1"},
        4: {"state": "open"},
    }
    for number, fields in expected.items():
        outcome = await load_reservation(world.core, world.redis, world.environment_id, UUID(int=number))
        assert outcome == "loaded"
        found = {name.decode(): value for name, value in (await held_in_redis(world, number)).items()}
        assert {name: value.encode() for name, value in fields.items()}.items() <= found.items()
    assert await load_reservation(world.core, world.redis, world.environment_id, UUID(int=5)) == "unknown"
    assert await load_reservation(world.core, world.redis, UUID(int=8), UUID(int=1)) == "unknown"


async def test_a_refused_opening_does_not_hide_what_the_ledger_has(world: World) -> None:
    """The key again after its window, refused for credit: ends are answered by the ledger, the opening as it was."""
    async with world.flusher():
        await world.customer("ada", 100)
        await world.reserve("ada", 1, 10)
        await world.end("ada", 1, ReservationState.COMMITTED, 10, used=7)
        await world.at_rest("ada")
    ref = world.ref("ada")
    name = keys.reservation(world.redis.partition(ref), ref[: keys.ENVIRONMENT_REF_LENGTH], UUID(int=1))
    await world.redis.client.delete(name)
    await world.redis.client.hset(name, mapping={"state": "refused", "asked": "f", "opening": "-10:9"})
    for _ in range(2):
        assert await load_reservation(world.core, world.redis, world.environment_id, UUID(int=1)) == "loaded"
        held = await held_in_redis(world, 1)
        assert (held[b"state"], held[b"opening"]) == (b"committed", b"-10:9")


@pytest.mark.parametrize("is_again", [False, True])
async def test_an_opening_on_its_way_to_the_ledger_is_waited_for(world: World, *, is_again: bool) -> None:
    """Where Redis has dropped it already, it is not unknown, nor what it was before: busy, and loaded once posted."""
    partition = world.redis.partition(world.ref("ada"))
    opened, never = (ids.in_partition(UUID(int=number), partition) for number in (1, 2))
    async with world.flusher():
        await world.customer("ada", 100)
        await world.view("ada")
        if is_again:
            await world.reserve("ada", opened.int, 5)
            await world.end("ada", opened.int, ReservationState.RELEASED, 5)
            await world.at_rest("ada")
    await world.reserve("ada", opened.int, 10)
    await world.redis.client.delete(keys.account(partition, world.ref("ada")))

    async def load(reservation_id: UUID) -> str:
        return await load_reservation(world.core, world.redis, world.environment_id, reservation_id)

    async def settled() -> str | None:
        return None if (outcome := await load(opened)) == "busy" else outcome

    assert await asyncio.gather(load(opened), load(never)) == ["busy", "busy"]
    async with world.flusher():
        assert await wait_until_async(settled, 20, "the opening to be posted") == "loaded"
        assert (await held_in_redis(world, opened.int))[b"state"] == b"open"
        assert await load(never) == "unknown"
    beyond = ids.in_partition(UUID(int=1), AGREEMENT.partitions)
    assert await load(beyond) == "unknown"


async def test_an_account_that_nobody_touches_is_loaded_by_jobs(world: World) -> None:
    """33: after a loss of memory, where something should have ended in it; what is not due yet can wait."""
    async with world.flusher():
        for end_user_id, number, due_at in (("ada", 1, 1_000_000), ("bob", 2, NEVER_AT)):
            await world.customer(end_user_id, 10)
            await world.reserve(end_user_id, number, 10, due_at)
            await world.at_rest(end_user_id)
    await world.redis.client.flushall()
    await world.redis.check_agreement()
    async with world.flusher():
        await wait_until_async(lambda: is_ready(world), 20, "new incarnations")
        jobs = await Database.open(world.urls["quotastack_jobs"], "test", 2)
        assert await Reloader(jobs, world.redis, world.clock).round(asyncio.Event()) == 1
        await jobs.close()
        assert await world.redis.read_account(world.environment_id, "ada") is not None
        assert await world.redis.read_account(world.environment_id, "bob") is None
    assert (await held_in_redis(world, 1))[b"state"] == b"open"
    assert [at for _, at in await due_in_redis(world)] == [1_000_000.0]


async def is_ready(world: World) -> bool:
    """Whether every partition has its incarnation."""
    ends = [await world.redis.read_stream_end(partition) for partition in range(AGREEMENT.partitions)]
    return all(end.incarnation is not None for end in ends)
