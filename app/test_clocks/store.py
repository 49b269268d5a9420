"""Rows of test clocks, and what of their environments has still to happen."""

from datetime import datetime
from uuid import UUID

import msgspec

from app.io.postgres import Transaction
from app.io.statements import statements

_SQL = statements("app.test_clocks")


class ClockRow(msgspec.Struct, frozen=True):
    """Where a clock stands; while it is on its way, from where to where."""

    frozen_at: datetime
    advanced_from: datetime | None
    """While it is being frozen, where it is to stand then: what comes next counts from there."""
    advancing_to: datetime | None
    moved_under: str | None
    """The request that moved it last: its route and key."""

    @property
    def is_new(self) -> bool:
        """Whether what was due by the moment at which the clock is frozen is still being posted."""
        return self.advancing_to is not None and self.advanced_from == self.advancing_to

    @property
    def way(self) -> "Way":
        """What is left of its way."""
        return Way(self.frozen_at, self.advancing_to or self.frozen_at, self.is_new)


class Way(msgspec.Struct, frozen=True):
    """Where a clock stands, and where it is sent."""

    stands_at: datetime
    to: datetime
    is_new: bool = False
    """The clock is being frozen: there may be accounts that do not know of it."""


class AccountOnClock(msgspec.Struct, frozen=True):
    """An account of an environment with a clock."""

    id: UUID
    end_user_id: str
    is_due: bool
    """Whether anything there is due that is not posted."""


class DueReservation(msgspec.Struct, frozen=True):
    """An open reservation that falls due before a clock has arrived."""

    expires_at: datetime
    id: UUID
    end_user_id: str

    @property
    def place(self) -> tuple[datetime, UUID]:
        """Where it stands in their order."""
        return self.expires_at, self.id


async def read_clock(tx: Transaction) -> ClockRow | None:
    """The environment's clock; None where it goes by the real time."""
    row = await tx.connection.fetchrow(_SQL["read_clock"], tx.environment)
    return None if row is None else ClockRow(*row)


async def lock_clock(tx: Transaction) -> ClockRow | None:
    """The same, kept as it is until the transaction ends."""
    row = await tx.connection.fetchrow(_SQL["lock_clock"], tx.environment)
    return None if row is None else ClockRow(*row)


async def insert_clock(tx: Transaction, way: Way, now: datetime, moved_under: str | None) -> None:
    """A clock that is on its way to where it is to stand; nothing where there is one."""
    await tx.connection.execute(_SQL["insert_clock"], tx.environment, way.stands_at, way.to, now, moved_under)


async def start_advance(tx: Transaction, advanced_from: datetime, to: datetime, moved_under: str | None) -> None:
    """The clock is on its way."""
    await tx.connection.execute(_SQL["start_advance"], tx.environment, advanced_from, to, moved_under)


async def move_clock(tx: Transaction, to: datetime) -> None:
    """The clock stands at `to`, or beyond."""
    await tx.connection.execute(_SQL["move_clock"], tx.environment, to)


async def finish_advance(tx: Transaction, to: datetime) -> None:
    """The clock has arrived at `to`."""
    await tx.connection.execute(_SQL["finish_advance"], tx.environment, to)


async def delete_clock(tx: Transaction) -> None:
    """The environment has no clock of its own any more."""
    await tx.connection.execute(_SQL["delete_clock"], tx.environment)


async def has_customers(tx: Transaction) -> bool:
    """Whether the environment has any customer."""
    return await tx.connection.fetchval(_SQL["has_customers"], tx.environment)


async def holds_later(tx: Transaction, now: datetime) -> bool:
    """Whether a price was made, or enrolling begun, by a clock that is ahead of `now`: it would not hold yet."""
    return await tx.connection.fetchval(_SQL["holds_later"], tx.environment, now)


async def read_posted_until(tx: Transaction) -> datetime | None:
    """The last moment that anything of the environment was posted at."""
    return await tx.connection.fetchval(_SQL["read_posted_until"], tx.environment)


async def list_accounts(
    tx: Transaction, by: datetime, after: UUID, limit: int, *, only_due: bool
) -> list[AccountOnClock]:
    """A page of the environment's accounts, in the order of their ids; all, or those where anything is due by then."""
    rows = await tx.connection.fetch(_SQL["list_accounts"], tx.environment, by, after, limit, only_due)
    return [AccountOnClock(*row) for row in rows]


async def list_reservations(
    tx: Transaction, by: datetime, after: tuple[datetime, UUID], limit: int
) -> list[DueReservation]:
    """A page of the environment's open reservations that fall due by then, in that order."""
    rows = await tx.connection.fetch(_SQL["list_reservations"], tx.environment, by, *after, limit)
    return [DueReservation(*row) for row in rows]


async def read_next_due(tx: Transaction) -> datetime | None:
    """When anything of the environment falls due next, or has."""
    return await tx.connection.fetchval(_SQL["read_next_due"], tx.environment)
