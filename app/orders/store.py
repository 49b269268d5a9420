"""Rows of what became of orders."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from app.io.postgres import Transaction as DatabaseTransaction
from app.io.statements import statements
from app.orders.outcomes import Outcome, digest_of, kind_of, target_of

_SQL = statements("app.orders")


class Posted(msgspec.Struct, frozen=True):
    """The transaction by which an order was carried out. `lines` = (account name, signed micro-credits)."""

    transaction_id: UUID
    kind: str
    posted_at: datetime
    total_before_micro: int
    total_after_micro: int
    lines: list[tuple[str, int]]


class CarriedOut(msgspec.Struct, frozen=True):
    """What became of an order, read back: refused where it has a code, else done, by a transaction or without."""

    digest: bytes
    """Of what was ordered."""
    code: str | None
    amount_micro: int
    context: dict[str, Any]
    posted: Posted | None


async def find_known(tx: DatabaseTransaction, orders: Collection[tuple[UUID, UUID]]) -> set[UUID]:
    """Which of (environment, order id) have been carried out or refused."""
    asked = sorted(orders)
    rows = await tx.connection.fetch(_SQL["find_orders"], [pair[0] for pair in asked], [pair[1] for pair in asked])
    return {row["id"] for row in rows}


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
        [_packed(outcome) for outcome in outcomes],
        now,
    )


async def read_order(tx: DatabaseTransaction, order_id: UUID) -> CarriedOut | None:
    """What became of an order; None while nothing has."""
    row = await tx.connection.fetchrow(_SQL["read_order"], tx.environment, order_id)
    if row is None:
        return None
    posted = None
    if row["transaction_id"] is not None:
        lines = list(zip(row["names"], row["amounts"], strict=True))
        totals = row["total_before_micro"], row["total_after_micro"]
        posted = Posted(row["transaction_id"], row["kind"], row["posted_at"], *totals, lines)
    return CarriedOut(row["digest"], row["code"], row["amount_micro"], _context(row["context"]), posted)


def _packed(outcome: Outcome) -> str | None:
    context = None if outcome.refused is None else outcome.refused.context
    return None if context is None else msgspec.json.encode(context).decode()


def _context(packed: str | None) -> dict[str, Any]:
    return {} if packed is None else msgspec.json.decode(packed, type=dict[str, Any])
