"""What is told of credit, on real servers: by the settings of the environment, once, with the ledger."""

from datetime import timedelta
from typing import Any

from app.environments import service
from app.environments.schemas import EnvironmentChange, ThresholdBody
from app.web.amounts import CreditsAboveZero
from tests.flusher.world import World
from tests.waiting import wait_until_async


async def set_thresholds(world: World, *thresholds: ThresholdBody) -> None:
    """As a tenant sets them."""
    change, now = EnvironmentChange(thresholds=[*thresholds]), world.clock.now()
    await world.core.run(world.environment_id, lambda tx: service.change_settings(tx, change, now))


async def told(world: World) -> list[tuple[Any, ...]]:
    """What is in the outbox of credit that is spent, in its order."""
    rows = await world.ledger("""
        SELECT type, end_user_id, data ->> 'total', data ->> 'level', data -> 'threshold', data ->> 'debt' FROM outbox
        WHERE type IN ('credits.low', 'credits.depleted', 'usage.overage') ORDER BY created_at, ctid
    """)
    return [tuple(row) for row in rows]


async def test_credit_goes_by_its_thresholds(world: World) -> None:
    """Each is told once; after more credit came, once more."""
    await set_thresholds(world, ThresholdBody(credits=CreditsAboveZero(4_500_000)), ThresholdBody(percent=20))
    customer_id = await world.customer("ada", 10)
    async with world.flusher():
        for number, units in enumerate((5, 1, 1, 1, 2, 3)):
            await world.use("ada", f"use {number}", units)
        await world.posted(6)
        assert await told(world) == [
            ("credits.low", "ada", "4", "4.5", '{"credits": 4.5}', None),
            ("credits.low", "ada", "2", "2", '{"percent": 20}', None),
            ("credits.depleted", "ada", "0", None, None, None),
            ("usage.overage", "ada", "-3", None, None, "3"),
        ]
        await world.grant(customer_id, 10)
        await world.view("ada")
        await world.use("ada", "more", 3)
        await world.posted(7)
        assert (await told(world))[4:] == [("credits.low", "ada", "4", "4.5", '{"credits": 4.5}', None)]
    assert (await world.verify()).findings == []


async def test_a_setting_holds_for_what_is_posted_next(world: World) -> None:
    """The flusher asks for each batch, and nothing is told of what was crossed before."""
    await world.customer("ada", 10)
    async with world.flusher():
        await world.use("ada", "one", 6)
        await world.posted(1)
        await set_thresholds(
            world,
            ThresholdBody(credits=CreditsAboveZero(5_000_000)),
            ThresholdBody(credits=CreditsAboveZero(3_000_000)),
        )
        await world.use("ada", "two", 1)
        await world.posted(2)
        assert [row[3] for row in await told(world)] == ["3"]
        await set_thresholds(world)
        await world.use("ada", "three", 1)
        await world.posted(3)
    assert len(await told(world)) == 1


async def test_a_stream_that_is_read_again_tells_nothing(world: World) -> None:
    """What was sent again under its key, long after: the ledger has it, and its word."""
    await world.customer("ada", 1)
    async with world.flusher():
        await world.use("ada", "same", 2)
        await world.posted(1)
        await world.at_rest("ada")
        before = await told(world)
        await world.forget("ada", "same")
        await world.use("ada", "same", 2)
        await world.at_rest("ada")
    assert await told(world) == before
    assert [row[0] for row in before] == ["credits.depleted", "usage.overage"]


async def test_what_expires_is_told_when_it_did(world: World) -> None:
    """Dated with the expiry, though it is posted with what comes later."""
    expires_at = world.clock.now() + timedelta(milliseconds=500)
    await world.customer("ada", 9, expires_at)

    async def has_expired() -> bool:
        return world.clock.now() > expires_at

    async def is_told() -> bool:
        return bool(await told(world))

    async with world.flusher():
        await wait_until_async(has_expired, 20, "the credit to expire")
        await world.append("ada", "t", b"", 0)
        await wait_until_async(is_told, 20, "the expiry to be told")
    [row] = await world.ledger("SELECT type, created_at FROM outbox WHERE type = 'credits.depleted'")
    assert row["created_at"] == expires_at
