"""Word that a batch leaves in the outbox, on real servers."""

from uuid import UUID

import msgspec
import pytest
from msgspec.structs import replace

from app.flusher import writer
from app.flusher.batch import post_batch
from app.flusher.posting import Posting
from app.io.postgres import Database
from app.trail import outbox
from app.trail.outbox import Announcement, EventType
from app.web.amounts import Credits
from tests.flusher.world import World


class Told(msgspec.Struct):
    """What is told."""

    balance: Credits


async def test_told_twice_is_told_once_and_exactly(world: World) -> None:
    """The flusher may tell in any environment; of one id the first word stays."""
    first = Announcement(
        world.environment_id, UUID(int=1), EventType.CREDITS_LOW, "ada", Told(Credits(1)), at=1_700_000_000_000_001
    )
    second = replace(first, id=UUID(int=2), type=EventType.CREDITS_DEPLETED)
    database = await Database.open(world.urls["quotastack_flusher"], "flusher", 1)
    try:
        for said in ([first], [second, replace(first, data=Told(Credits(7)))], []):
            await database.run(None, lambda tx, said=said: outbox.announce(tx, said))
    finally:
        await database.close()
    rows = await world.ledger(
        "SELECT id, type, end_user_id, data::text, extract(epoch FROM created_at) * 1e6 FROM outbox ORDER BY id"
    )
    assert [tuple(row) for row in rows] == [
        (UUID(int=1), "credits.low", "ada", '{"balance": 0.000001}', 1_700_000_000_000_001),
        (UUID(int=2), "credits.depleted", "ada", '{"balance": 0.000001}', 1_700_000_000_000_001),
    ]


async def test_a_batch_tells_in_its_own_transaction(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a batch announces is there as soon as its events are."""
    said = Announcement(world.environment_id, UUID(int=1), EventType.CREDITS_LOW, "ada", Told(Credits(1)), at=1)

    def telling(*batch: object) -> Posting:
        posting = post_batch(*batch)  # pyright: ignore[reportArgumentType]
        posting.announcements.append(said)
        return posting

    monkeypatch.setattr(writer, "post_batch", telling)
    await world.customer("ada", 5)
    async with world.flusher():
        await world.use("ada", "one", 1)
        await world.posted(1)
    [row] = await world.ledger("SELECT type FROM outbox")
    assert row["type"] == "credits.low"
