"""What core explains is what the flusher then posts."""

from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

import msgspec

from app.io.postgres import Transaction
from app.ledger import explaining, reading, service, store
from app.ledger.explaining import ExplainedAmount
from app.ledger.store import PartitionCursor
from tests.flusher.world import CREDIT, World

CUSTOMERS = 8


async def add_blocks(world: World, customer_id: UUID, random: Random) -> None:
    """Some blocks that differ in everything that the order looks at."""
    now = datetime.now(UTC)
    for _ in range(random.randint(1, 5)):
        expires_at = random.choice([None, now + timedelta(days=random.randint(1, 3))])
        request = service.GrantRequest(
            random.randint(1, 6) * CREDIT,
            random.choice(["promo", "topup"]),
            random.randint(1, 2),
            now,
            expires_at,
            paid=random.random() < 0.5,
            actor="test",
        )
        await world.core.run(
            world.environment_id, lambda tx, request=request: service.grant(tx, customer_id, request, now)
        )


async def explained(world: World, end_user_id: str, amount: int) -> ExplainedAmount:
    """As the route does it."""

    async def read(tx: Transaction) -> tuple[reading.Figures, list[reading.LiveBlock], PartitionCursor]:
        figures = await reading.read_figures(tx, end_user_id)
        return figures, await reading.list_live_blocks(tx, figures.account_id), await store.read_cursor(tx, 0)

    figures, blocks, cursor = await world.core.run(world.environment_id, read, isolation="repeatable_read")
    so_far = await reading.read_so_far(world.redis, world.environment_id, end_user_id)
    pending_micro = reading.pending_micro(so_far, figures, cursor)
    assert pending_micro is not None
    return explaining.explain(figures, blocks, pending_micro, amount * CREDIT, world.clock.now())


async def test_the_flusher_draws_what_was_explained(world: World) -> None:
    """With open debt, with usage pending that is posted before, with and without a shortfall: block for block."""
    random = Random(22)
    names = [f"u{number}" for number in range(CUSTOMERS)]
    async with world.flusher():
        for name in names:
            customer_id = await world.customer(name, random.randint(1, 5))
            await world.use(name, "may leave a debt", random.randint(1, 9))
            await add_blocks(world, customer_id, random)
        await world.posted(len(names))
        for name in names:
            await world.at_rest(name)
    expected: dict[str, ExplainedAmount] = {}
    for name in names:
        await world.use(name, "pending", random.randint(1, 6))
        amount = random.randint(1, 12)
        expected[name] = await explained(world, name, amount)
        await world.use(name, "asked", amount)
    async with world.flusher():
        await world.posted(3 * len(names))
    rows = await world.ledger(
        "SELECT a.end_user_id, e.draws, e.debt_micro FROM usage_events e JOIN accounts a ON a.id = e.account_id "
        "WHERE e.idempotency_key = 'asked'"
    )
    assert {row["end_user_id"] for row in rows} == set(names)
    for row in rows:
        explanation = expected[row["end_user_id"]]
        draws = [(step.block.id, step.drawn_micro) for step in explanation.steps if step.drawn_micro]
        assert draws == msgspec.json.decode(row["draws"], type=list[tuple[UUID, int]])
        assert explanation.shortfall_micro == row["debt_micro"]
    shortfalls = [explanation.shortfall_micro for explanation in expected.values()]
    assert min(shortfalls) == 0 < max(shortfalls)
