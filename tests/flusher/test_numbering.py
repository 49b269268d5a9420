"""Numbers of what happened: per customer in the order of commits, without a gap, whoever tells it."""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from itertools import count
from uuid import UUID, uuid4

import msgspec
import pytest

from app.io.clock import Clock
from app.io.postgres import Database, Transaction
from app.trail import outbox
from app.trail.outbox import Announcement, EventType
from tests.flusher.world import World

CUSTOMERS = ("ada", "ben", "cem", "dee")
ROWS = "SELECT end_user_id, sequence, arrival, id, type FROM outbox ORDER BY arrival"


class Told(msgspec.Struct):
    """What is told."""

    number: int


class Undone(Exception):
    """The transaction is rolled back."""


@pytest.fixture
async def flusher_database(world: World) -> AsyncIterator[Database]:
    """Connections as the flusher has them."""
    database = await Database.open(world.urls["quotastack_flusher"], "flusher", 4)
    yield database
    await database.close()


def announcement(world: World, end_user_id: str, event_id: UUID | None = None) -> Announcement:
    """Word of something."""
    return Announcement(world.environment_id, event_id or uuid4(), EventType.CREDITS_LOW, end_user_id, Told(1), at=1)


async def tell(tx: Transaction, end_user_id: str | None, number: int) -> None:
    """Leave word, as core does."""
    await outbox.leave(tx, EventType.CREDITS_GRANTED, end_user_id, Told(number), Clock().now())


async def test_numbers_are_gapless_and_in_the_order_of_commits(world: World, flusher_database: Database) -> None:
    """Core and the flusher tell of the same customers at once, in any order, and some take it back: nobody deadlocks.

    Within a customer `arrival` is in the order of `sequence`, so whoever reads by it sees no number before its
    predecessor.
    """
    chance, numbers = random.Random(7), count()

    async def by_core(customer: str | None, *, undo: bool) -> None:
        async def work(tx: Transaction) -> None:
            await tell(tx, customer, next(numbers))
            await asyncio.sleep(0)
            if undo:
                raise Undone

        try:
            await world.core.run(world.environment_id, work)
        except Undone:
            assert undo

    async def by_flusher(customers: list[str]) -> None:
        said = [announcement(world, customer) for customer in customers]
        await flusher_database.run(None, lambda tx: outbox.announce(tx, said))

    kept = [by_core(chance.choice((*CUSTOMERS, None)), undo=False) for _ in range(40)]
    undone = [by_core(chance.choice(CUSTOMERS), undo=True) for _ in range(10)]
    batches = [by_flusher(chance.choices(CUSTOMERS, k=6)) for _ in range(20)]
    work = [*kept, *undone, *batches]
    chance.shuffle(work)
    await asyncio.gather(*work)
    found: dict[str | None, list[int]] = defaultdict(list)
    for row in await world.ledger(ROWS):
        found[row["end_user_id"]].append(row["sequence"])
    assert sum(map(len, found.values())) == 40 + 20 * 6
    for customer, sequences in found.items():
        assert sequences == list(range(1, len(sequences) + 1)), customer


async def test_who_is_told_first_commits_first(world: World) -> None:
    """A second transaction waits for its number until the first has its own for good; another customer's does not."""
    first_told, may_end = asyncio.Event(), asyncio.Event()

    async def first(tx: Transaction) -> None:
        await tell(tx, "ada", 1)
        first_told.set()
        await may_end.wait()

    running = asyncio.create_task(world.core.run(world.environment_id, first))
    await first_told.wait()
    second = asyncio.create_task(world.core.run(world.environment_id, lambda tx: tell(tx, "ada", 2)))
    await world.core.run(world.environment_id, lambda tx: tell(tx, "ben", 1))
    assert not second.done()
    assert [row["end_user_id"] for row in await world.ledger(ROWS)] == ["ben"]
    may_end.set()
    await asyncio.gather(running, second)
    told = await world.ledger(
        "SELECT data ->> 'number' AS number FROM outbox WHERE end_user_id = 'ada' ORDER BY sequence"
    )
    assert [row["number"] for row in told] == ["1", "2"]


async def test_what_was_told_takes_no_number(world: World, flusher_database: Database) -> None:
    """A stream that is read again, a batch that says a thing twice; and nobody hears in an environment that is none."""
    first, second = announcement(world, "ada"), announcement(world, "ada")
    nobody = Announcement(uuid4(), uuid4(), EventType.CREDITS_LOW, "ada", Told(1), at=1)
    for said in ([first, first], [first, second, nobody], [second, first]):
        await flusher_database.run(None, lambda tx, said=said: outbox.announce(tx, said))
    rows = await world.ledger(ROWS)
    assert [(row["sequence"], row["id"]) for row in rows] == [(1, first.id), (2, second.id)]
    heads = await world.ledger("SELECT last_sequence FROM outbox_heads")
    assert [row["last_sequence"] for row in heads] == [2]
