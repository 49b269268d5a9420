"""Rows of orders, and of what they speak of."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from app.corrections.deciding import Outcome, digest_of, kind_of, target_of
from app.io.postgres import Record
from app.io.postgres import Transaction as DatabaseTransaction
from app.io.statements import statements
from app.ledger import store as ledger_store
from app.ledger.book import Account, Reservation
from app.ledger.targets import Targets
from app.wire.orders import Order

_SQL = statements("app.corrections")
NONE_HELD: Mapping[UUID, Reservation] = {}


class Posted(msgspec.Struct, frozen=True):
    """The transaction by which an order was carried out. `lines` = (account name, signed micro-credits)."""

    transaction_id: UUID
    kind: str
    posted_at: datetime
    total_before_micro: int
    total_after_micro: int
    lines: list[tuple[str, int]]


class CarriedOut(msgspec.Struct, frozen=True):
    """What became of an order, read back: it was posted, or refused with a code."""

    digest: bytes
    """Of what was ordered."""
    code: str | None
    amount_micro: int
    posted: Posted | None


async def read_targets(
    tx: DatabaseTransaction,
    orders: Sequence[tuple[Account, Order]],
    reservations: Mapping[UUID, Reservation] = NONE_HELD,
) -> Targets:
    """What these orders and reservations of locked accounts speak of."""
    known = await _fetch(tx, "find_orders", [(account.environment_id, order.order_id) for account, order in orders])
    targets = Targets(known={row["id"] for row in known}, reservations={**reservations})
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


async def insert_outcomes(tx: DatabaseTransaction, outcomes: Sequence[Outcome], now: datetime) -> None:
    """What became of the orders of a batch."""
    if not outcomes:
        return
    await tx.connection.execute(
        _SQL["insert_orders"],
        [outcome.environment_id for outcome in outcomes],
        [outcome.order.order_id for outcome in outcomes],
        [outcome.account_id for outcome in outcomes],
        [kind_of(outcome.order) for outcome in outcomes],
        [target_of(outcome.order) for outcome in outcomes],
        [outcome.amount_micro for outcome in outcomes],
        [None if outcome.refused is None else outcome.refused.code.value for outcome in outcomes],
        [outcome.seq for outcome in outcomes],
        [digest_of(outcome.order) for outcome in outcomes],
        now,
    )


async def read_order(tx: DatabaseTransaction, order_id: UUID) -> CarriedOut | None:
    """What became of an order; None while nothing has."""
    row = await tx.connection.fetchrow(_SQL["read_order"], tx.environment, order_id)
    if row is None:
        return None
    posted = None
    if row["code"] is None:
        lines = list(zip(row["names"], row["amounts"], strict=True))
        totals = row["total_before_micro"], row["total_after_micro"]
        posted = Posted(row["transaction_id"], row["kind"], row["posted_at"], *totals, lines)
    return CarriedOut(row["digest"], row["code"], row["amount_micro"], posted)


async def find_owner(tx: DatabaseTransaction, event_id: UUID | None, block_id: UUID | None) -> tuple[UUID, str] | None:
    """(account, end user) of a usage event or a block; None where there is none of this id."""
    row = await tx.connection.fetchrow(_SQL["find_owner"], tx.environment, event_id, block_id)
    return None if row is None else (row["id"], row["end_user_id"])


async def _fetch(tx: DatabaseTransaction, statement: str, pairs: Collection[tuple[UUID, UUID]]) -> Sequence[Record]:
    """Rows of (environment, id)."""
    asked = sorted(pairs)
    return await tx.connection.fetch(_SQL[statement], [pair[0] for pair in asked], [pair[1] for pair in asked])
