"""Rows of reservations."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from app.io.postgres import Record, Transaction
from app.io.statements import statements
from app.ledger import store as ledger_store
from app.ledger.book import Reservation
from app.rules.moments import to_at, to_datetime
from app.rules.pricing import Price
from app.wire.held import EXPIRY, Ending, Facts, OpenReservation
from app.wire.reservations import ReservationState

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
    rows = sorted(reservations, key=lambda r: (r.environment_id, r.id, r.opened_seq))
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


async def list_open(tx: Transaction, environment_id: UUID, account_id: UUID) -> list[OpenReservation]:
    """An account's open reservations, as they are put into Redis with it."""
    rows = await tx.connection.fetch(_SQL["list_open"], environment_id, account_id)
    return [
        OpenReservation(row["id"], _facts(row), row["reserved_micro"], to_at(row["expires_at"]), _period_at(row))
        for row in rows
    ]


class OpenRow(msgspec.Struct, frozen=True):
    """An open reservation, for those who look at it."""

    id: UUID
    feature_key: str
    in_credits: bool
    units_micro: int
    reserved_micro: int
    idempotency_key: str | None
    properties: str | None
    opened_at: datetime
    expires_at: datetime


async def list_of_customer(
    tx: Transaction, account_id: UUID, after: tuple[datetime, UUID], limit: int
) -> list[OpenRow]:
    """An account's open reservations by (when they fall due, id), after such a pair."""
    rows = await tx.connection.fetch(_SQL["list_of_customer"], tx.environment, account_id, *after, limit)
    return [OpenRow(*row) for row in rows]


class KnownReservation(msgspec.Struct, frozen=True):
    """A reservation as core finds it for an edge. `ending` None = it is open; `late` = of a commit after it expired."""

    end_user_id: str
    facts: Facts
    reserved_micro: int
    due_at: int
    ending: Ending | None
    late: Ending | None
    total_micro: int
    """What the ledger says that its customer has."""
    period_at: int | None
    """In which its opening counted its units."""


async def read_known(tx: Transaction, environment_id: UUID, reservation_id: UUID) -> KnownReservation | None:
    """A reservation of the environment; None where the ledger has none of this id."""
    row = await tx.connection.fetchrow(_SQL["read_known"], environment_id, reservation_id)
    if row is None:
        return None
    facts, ending, late = _facts(row), None, None
    match ReservationState(row["state"]):
        case ReservationState.OPEN:
            pass
        case ReservationState.COMMITTED:
            ending = _commit(facts, row)
        case ReservationState.RELEASED:  # nothing of it was charged, or its key was when it was opened before
            ending = Ending(ReservationState.RELEASED) if row["committed_micro"] is None else _commit(facts, row)
        case ReservationState.EXPIRED:
            ending = EXPIRY
            late = None if row["committed_micro"] is None else _commit(facts, row)
    due_at, figures = to_at(row["expires_at"]), (row["total_micro"], _period_at(row))
    return KnownReservation(row["end_user_id"], facts, row["reserved_micro"], due_at, ending, late, *figures)


def _commit(facts: Facts, row: Record) -> Ending:
    """In the measure in which it was reserved."""
    used_micro = row["committed_micro"]
    asked_micro = used_micro if facts.in_credits else row["committed_units_micro"]
    return Ending(ReservationState.COMMITTED, asked_micro, used_micro)


def _facts(row: Record) -> Facts:
    price = msgspec.json.decode(row["price"], type=Price)
    return Facts(row["feature_key"], row["in_credits"], row["units_micro"], row["price_id"], price)


def _period_at(row: Record) -> int | None:
    return None if row["period_at"] is None else to_at(row["period_at"])


def _moments(moments: Sequence[int | None]) -> list[datetime | None]:
    return [None if at is None else to_datetime(at) for at in moments]
