"""What orders that correct something speak of."""

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from app.io.postgres import Record
from app.io.postgres import Transaction as DatabaseTransaction
from app.io.statements import statements
from app.ledger import store as ledger_store
from app.ledger.book import Account, Reservation
from app.ledger.targets import Targets
from app.orders import store as orders_store
from app.orders.outcomes import target_of
from app.wire.orders import Order

_SQL = statements("app.corrections")
NONE_HELD: Mapping[UUID, Reservation] = {}


async def read_targets(
    tx: DatabaseTransaction,
    orders: Sequence[tuple[Account, Order]],
    reservations: Mapping[UUID, Reservation] = NONE_HELD,
) -> Targets:
    """What these orders and reservations of locked accounts speak of."""
    known = await orders_store.find_known(tx, [(account.environment_id, order.order_id) for account, order in orders])
    targets = Targets(known=known, reservations={**reservations})
    new = [(account, order) for account, order in orders if order.order_id not in targets.known]
    held = reservations.values()
    accounts = {account.id for account, _ in new} | {reservation.account_id for reservation in held}
    named = {(account.environment_id, target) for account, order in new if (target := target_of(order)) is not None}
    for row in await _fetch(tx, "read_events", named):
        if row["account_id"] in accounts:
            targets.events[row["id"]] = ledger_store.read_event_row(row)
    sources = [*targets.events.values(), *held]
    drawn = {(source.environment_id, block) for source in sources for block, _ in source.parsed_draws()}
    for row in await _fetch(tx, "read_blocks", named | drawn):
        if row["account_id"] in accounts:
            targets.blocks[row["id"]] = ledger_store.block_of(row)
    voided = await _fetch(tx, "find_voided", named | drawn)
    targets.voided = {row["target_id"] for row in voided}
    return targets


async def find_owner(tx: DatabaseTransaction, event_id: UUID | None, block_id: UUID | None) -> tuple[UUID, str] | None:
    """(account, end user) of a usage event or a block; None where there is none of this id."""
    row = await tx.connection.fetchrow(_SQL["find_owner"], tx.environment, event_id, block_id)
    return None if row is None else (row["id"], row["end_user_id"])


async def _fetch(tx: DatabaseTransaction, statement: str, pairs: Collection[tuple[UUID, UUID]]) -> Sequence[Record]:
    """Rows of (environment, id)."""
    asked = sorted(pairs)
    return await tx.connection.fetch(_SQL[statement], [pair[0] for pair in asked], [pair[1] for pair in asked])
