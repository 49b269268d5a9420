"""Rows of reservations."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from app.io.postgres import Transaction
from app.io.statements import statements
from app.ledger import store as ledger_store
from app.ledger.book import Reservation
from app.rules.moments import to_datetime

_SQL = statements("app.reservations")


async def read_named(tx: Transaction, named: Collection[tuple[UUID, UUID]]) -> dict[UUID, Reservation]:
    """Those of (environment, reservation) that the ledger has, by id, whose accounts the caller holds locked."""
    asked = sorted(named)
    rows = await tx.connection.fetch(_SQL["read_named"], [pair[0] for pair in asked], [pair[1] for pair in asked])
    return {row["id"]: ledger_store.reservation_of(row) for row in rows}


async def write(tx: Transaction, reservations: Collection[Reservation]) -> None:
    """Reservations as a batch leaves them: new ones, and what has changed of the others. In one order."""
    if not reservations:
        return
    rows = sorted(reservations, key=lambda r: (r.environment_id, r.id))
    await tx.connection.execute(
        _SQL["write_reservations"],
        [r.environment_id for r in rows],
        [r.account_id for r in rows],
        [r.id for r in rows],
        [r.feature_key for r in rows],
        [r.in_credits for r in rows],
        [r.units_micro for r in rows],
        [r.reserved_micro for r in rows],
        [r.debt_micro for r in rows],
        [r.draws for r in rows],
        [r.price_id for r in rows],
        [r.idempotency_key for r in rows],
        [r.properties for r in rows],
        _moments([r.period_at for r in rows]),
        _moments([r.opened_at for r in rows]),
        [r.opened_seq for r in rows],
        _moments([r.expires_at for r in rows]),
        [r.state.value for r in rows],
        [r.used_micro for r in rows],
        _moments([r.ended_at for r in rows]),
        [r.ended_seq for r in rows],
    )


def _moments(moments: Sequence[int | None]) -> list[datetime | None]:
    return [None if at is None else to_datetime(at) for at in moments]
