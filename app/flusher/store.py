"""The flusher's own rows: leases, cursors, rejected entries."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from app.flusher.memory import Cursor
from app.flusher.posting import RejectedEntry
from app.flusher.sharing import share_of
from app.io.postgres import Transaction
from app.io.statements import statements
from app.wire import keys
from app.wire.events import parse_stream_id, show_stream_id
from app.wire.ids import derived_id

_SQL = statements("app.flusher")


class Fenced(Exception):
    """Another flusher owns a partition of this batch, or has moved its cursor: nothing may be committed."""


async def insert_leases(tx: Transaction, partitions: int, owner: UUID) -> None:
    """Make the lease rows that are missing."""
    await tx.connection.execute(_SQL["insert_leases"], partitions, owner)


async def renew_leases(tx: Transaction, partitions: int, owner: UUID, lease: timedelta) -> set[int]:
    """Keep and take leases up to our share, give up what is above it; the partitions that are ours now.

    Nothing may be under way in what is given up: this is called between two turns.
    """
    await tx.connection.execute(_SQL["report_alive"], owner, lease)
    await tx.connection.execute(_SQL["delete_dead_flushers"])
    alive = [row["owner"] for row in await tx.connection.fetch(_SQL["list_live_flushers"])]
    share = share_of(owner, alive, partitions)
    rows = await tx.connection.fetch(_SQL["renew_leases"], partitions, owner, lease, share)
    ours = [row["partition"] for row in rows]
    await tx.connection.execute(_SQL["give_up_leases"], owner, ours)
    return set(ours)


async def extend_leases(tx: Transaction, owner: UUID, lease: timedelta) -> None:
    """Keep the leases that are ours, in the middle of a turn."""
    await tx.connection.execute(_SQL["report_alive"], owner, lease)
    await tx.connection.execute(_SQL["extend_leases"], owner, lease)


async def release_leases(tx: Transaction, owner: UUID) -> None:
    """Give all our leases up, and our share with them."""
    await tx.connection.execute(_SQL["release_leases"], owner)
    await tx.connection.execute(_SQL["delete_flusher"], owner)


async def fence(tx: Transaction, partitions: Iterable[int], owner: UUID) -> dict[int, Cursor | None]:
    """Cursors of partitions whose leases are ours until this transaction ends; raises Fenced where one is not."""
    asked = sorted(partitions)
    rows = await tx.connection.fetch(_SQL["fence"], asked, owner)
    if len(rows) != len(asked):
        message = f"leases lost: {sorted(set(asked) - {row['partition'] for row in rows})}"
        raise Fenced(message)
    return {
        row["partition"]: None
        if row["incarnation"] is None
        else Cursor(row["incarnation"], parse_stream_id(row["last_id"].encode()))
        for row in rows
    }


async def write_cursors(tx: Transaction, cursors: Mapping[int, Cursor], now: datetime) -> None:
    """How far the ledger has read, as of this transaction."""
    await tx.connection.execute(
        _SQL["write_cursors"],
        list(cursors),
        [cursor.incarnation for cursor in cursors.values()],
        [show_stream_id(cursor.last_id) for cursor in cursors.values()],
        now,
    )


class RejectedFrom(msgspec.Struct, frozen=True):
    """A rejected entry and the incarnation of the stream that it stood in, which make its id."""

    incarnation: UUID
    rejected: RejectedEntry


async def insert_rejected(tx: Transaction, entries: Sequence[RejectedFrom], now: datetime) -> None:
    """Keep entries that could not be posted."""
    if not entries:
        return
    customers = [_customer(entry.rejected.ref) for entry in entries]
    await tx.connection.execute(
        _SQL["insert_rejected"],
        [environment_id for environment_id, _ in customers],
        [_rejected_id(entry) for entry in entries],
        [end_user_id for _, end_user_id in customers],
        [show_stream_id(entry.rejected.stream_id) for entry in entries],
        [entry.rejected.code for entry in entries],
        [entry.rejected.detail for entry in entries],
        [entry.rejected.entry for entry in entries],
        now,
    )


def _customer(ref: bytes) -> tuple[UUID, str]:
    """Whose entry it was; nobody's where even that cannot be read."""
    try:
        environment_id, end_user_id = keys.parse_account_ref(ref)
    except ValueError:
        return UUID(int=0), ref.hex()
    return environment_id, end_user_id.replace("\0", "")


def _rejected_id(entry: RejectedFrom) -> UUID:
    """The event's own id, so that its sender finds it; else one that is the same when the stream is read again."""
    if entry.rejected.event_id is not None:
        return entry.rejected.event_id
    stream_id = show_stream_id(entry.rejected.stream_id).encode()
    return derived_id(b"rejected", entry.incarnation.hex.encode(), entry.rejected.ref, stream_id)


async def list_account_ids(tx: Transaction, customers: Sequence[tuple[UUID, str]]) -> list[tuple[UUID, UUID]]:
    """(environment, account) of (environment, end user id); unknown ones are left out."""
    environments, end_users = [customer[0] for customer in customers], [customer[1] for customer in customers]
    rows = await tx.connection.fetch(_SQL["list_account_ids"], environments, end_users)
    return [(row["environment_id"], row["id"]) for row in rows]
