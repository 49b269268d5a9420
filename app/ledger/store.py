"""The ledger's rows: accounts under lock, their live blocks, and what a posting leaves behind.

Every writer locks account rows in the order (environment, id) before anything below them, so batches never deadlock.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec.structs import astuple

from app.io.postgres import CheckViolationError, Record
from app.io.postgres import Transaction as DatabaseTransaction
from app.io.redis import StreamEnd
from app.io.statements import statements
from app.ledger.book import (
    NO_NOTES,
    Account,
    BlockNotes,
    CountedUnits,
    PostedEvent,
    Reservation,
    TakenOverCredit,
    Transaction,
    UsedInHour,
)
from app.rules import burndown
from app.rules.boundaries import next_boundary
from app.rules.burndown import Block, Terms
from app.rules.moments import NEVER_AT, to_at, to_datetime
from app.rules.periods import Calendar, Counting, Period
from app.wire.events import parse_stream_id
from app.wire.reservations import ReservationState

_SQL = statements("app.ledger")


class MonthMissing(Exception):
    """A usage event was accepted in a month that has no partition yet; see `make_usage_partitions`."""


class PartitionCursor(msgspec.Struct, frozen=True):
    """How far a partition's stream has been posted, and whose memory it is; None = no flusher was there yet."""

    incarnation: UUID | None
    last_id: tuple[int, int]

    def has_passed(self, end: StreamEnd) -> bool:
        """Whether everything is posted that was in the stream when it ended there."""
        return self.incarnation == end.incarnation and self.last_id >= end.last_id


async def read_cursor(tx: DatabaseTransaction, partition: int) -> PartitionCursor:
    """The cursor of a partition."""
    row = await tx.connection.fetchrow(_SQL["read_cursor"], partition)
    if row is None:
        return PartitionCursor(None, (0, 0))
    return PartitionCursor(row["incarnation"], parse_stream_id(row["last_id"].encode()))


async def lock_accounts(tx: DatabaseTransaction, customers: Sequence[tuple[UUID, str]]) -> list[Account]:
    """Accounts of (environment, end user id), locked, with live blocks and counters. Unknown ones are left out."""
    environments, end_users = [c[0] for c in customers], [c[1] for c in customers]
    accounts = await _with_blocks(tx, await tx.connection.fetch(_SQL["lock_accounts"], environments, end_users))
    await read_counters(tx, accounts)
    return accounts


async def read_counters(tx: DatabaseTransaction, accounts: Sequence[Account]) -> None:
    """Give accounts of which something is counted their counters, as far as they are written."""
    since = {account.id: account.counting.period.start_at for account in accounts if account.counting is not None}
    if not since:
        return
    counted = {account.id: account for account in accounts if account.id in since}
    environments = [account.environment_id for account in counted.values()]
    begun = [to_datetime(at) for at in since.values()]
    for row in await tx.connection.fetch(_SQL["read_counters"], environments, list(since), begun):
        counters = counted[row["account_id"]].counters
        counters[row["feature_key"], to_at(row["period_at"])] = int(row["units_micro"])


async def lock_account(tx: DatabaseTransaction, environment_id: UUID, account_id: UUID) -> Account | None:
    """One account by id, locked, with its live blocks; None where there is none."""
    accounts = await _with_blocks(tx, await tx.connection.fetch(_SQL["lock_account"], environment_id, account_id))
    return accounts[0] if accounts else None


async def _with_blocks(tx: DatabaseTransaction, rows: Sequence[Record]) -> list[Account]:
    if not rows:
        return []
    accounts = {row["id"]: account_of(row) for row in rows}
    block_rows = await tx.connection.fetch(
        _SQL["read_live_blocks"], [row["environment_id"] for row in rows], [row["id"] for row in rows]
    )
    for row in block_rows:
        accounts[row["account_id"]].blocks.append(block_of(row))
    for account in accounts.values():
        if len(account.blocks) > 1:
            account.blocks = burndown.sort_blocks(account.blocks)
    return list(accounts.values())


def account_of(row: Record) -> Account:
    """An account from its row, without its blocks."""
    return Account(
        row["environment_id"],
        row["id"],
        row["end_user_id"],
        row["revision"],
        row["seq"],
        row["total_micro"],
        row["debt_micro"],
        row["applied_micro"],
        to_at(row["posted_at"]),
        row["head_hash"],
        row["snapshot_id"],
        row["subscription_status"],
        [],
        row["reserved_micro"],
        row["open_reservations"],
        counting_of(row),
        agenda_at=at_of(row["agenda_at"]),
        composed_until=at_of(row["composed_until"]),
    )


def counting_of(row: Record) -> Counting | None:
    """How units of an account are counted, from its row; None where nothing is."""
    if row["period_start_at"] is None:
        return None
    calendar = None if row["calendar"] is None else msgspec.json.decode(row["calendar"], type=Calendar)
    return Counting(calendar, Period(to_at(row["period_start_at"]), to_at(row["period_end_at"])))


def calendar_text(counting: Counting | None) -> str | None:
    """The column `calendar` of an account."""
    return None if counting is None or counting.calendar is None else msgspec.json.encode(counting.calendar).decode()


def moment_of(at: int) -> datetime | None:
    """The column of a moment of which NULL means never."""
    return None if at == NEVER_AT else to_datetime(at)


def at_of(moment: datetime | None) -> int:
    """The moment from its column, of which NULL means never."""
    return NEVER_AT if moment is None else to_at(moment)


async def read_block_boundaries(tx: DatabaseTransaction, account_ids: Sequence[UUID]) -> dict[UUID, int]:
    """When a block of each of these accounts next changes by itself; the caller holds them locked."""
    environments = [tx.environment] * len(account_ids)
    blocks: dict[UUID, list[Block]] = {account_id: [] for account_id in account_ids}
    for row in await tx.connection.fetch(_SQL["read_live_blocks"], environments, account_ids):
        blocks[row["account_id"]].append(block_of(row))
    return {account_id: next_boundary(found) for account_id, found in blocks.items()}


def block_of(row: Record) -> Block:
    """A block from its row."""
    return Block(
        row["id"],
        row["remaining_micro"],
        row["priority"],
        row["paid"],
        row["known_revision"],
        to_at(row["effective_at"]),
        at_of(row["expires_at"]),
        to_at(row["granted_at"]),
        row["source"],
        row["is_scheduled"],
        None if row["terms"] is None else msgspec.json.decode(row["terms"], type=Terms),
        row["granted_micro"],
    )


async def insert_account(
    tx: DatabaseTransaction, account_id: UUID, end_user_id: str, head_hash: bytes, now: datetime
) -> None:
    """An empty account, unless there is one."""
    await tx.connection.execute(_SQL["insert_account"], tx.environment_id, account_id, end_user_id, now, head_hash)


async def insert_block(tx: DatabaseTransaction, account: Account, block: Block, notes: BlockNotes = NO_NOTES) -> None:
    """A block just granted or scheduled, with what is kept for those who look at it."""
    await tx.connection.execute(_SQL["insert_block"], *_columns([(account, block)]), *astuple(notes))


async def insert_blocks(tx: DatabaseTransaction, blocks: Sequence[tuple[Account, Block]]) -> None:
    """Blocks that a batch made; what is left of them is updated after."""
    if blocks:
        await tx.connection.execute(_SQL["insert_block"], *_columns(blocks), *astuple(NO_NOTES))


def _columns(blocks: Sequence[tuple[Account, Block]]) -> tuple[list[object], ...]:
    """Blocks as one array for each column; what remains of each is what it was granted."""
    return (
        [account.environment_id for account, _ in blocks],
        [block.id for _, block in blocks],
        [account.id for account, _ in blocks],
        [block.source for _, block in blocks],
        [block.granted_micro for _, block in blocks],
        [block.priority for _, block in blocks],
        [block.paid for _, block in blocks],
        [block.known_revision for _, block in blocks],
        [to_datetime(block.effective_at) for _, block in blocks],
        [moment_of(block.expires_at) for _, block in blocks],
        [to_datetime(block.granted_at) for _, block in blocks],
        [block.is_scheduled for _, block in blocks],
        [_packed(block.terms) for _, block in blocks],
    )


async def settle_blocks(tx: DatabaseTransaction, settled: Mapping[UUID, tuple[UUID, int]]) -> None:
    """Scheduled blocks, by id, are scheduled no more: (environment, what was granted)."""
    if settled:
        await tx.connection.execute(
            _SQL["settle_blocks"],
            [environment_id for environment_id, _ in settled.values()],
            list(settled),
            [granted_micro for _, granted_micro in settled.values()],
        )


async def update_blocks(tx: DatabaseTransaction, blocks: Iterable[tuple[UUID, Block]]) -> None:
    """What is left of (environment, block), in one order."""
    changed = sorted(blocks, key=lambda pair: (pair[0], pair[1].id))
    if changed:
        await tx.connection.execute(
            _SQL["update_blocks"],
            [environment_id for environment_id, _ in changed],
            [block.id for _, block in changed],
            [block.remaining_micro for _, block in changed],
        )


async def reterm_blocks(tx: DatabaseTransaction, blocks: Sequence[tuple[UUID, Block]]) -> None:
    """Other terms of (environment, block)."""
    if blocks:
        await tx.connection.execute(
            _SQL["reterm_blocks"],
            [environment_id for environment_id, _ in blocks],
            [block.id for _, block in blocks],
            [_packed(block.terms) for _, block in blocks],
        )


async def take_over(tx: DatabaseTransaction, taken: Sequence[TakenOverCredit]) -> None:
    """Spent blocks are of another subscription: one after the other, since a later one may take what one took."""
    if taken:
        rows = [
            (
                each.environment_id,
                each.account_id,
                each.left_id,
                to_datetime(each.effective_from),
                to_datetime(each.expires_at),
                each.subscription_id,
            )
            for each in taken
        ]
        await tx.connection.executemany(_SQL["take_over"], rows)


async def end_rollover(tx: DatabaseTransaction, ended: Sequence[tuple[UUID, UUID, UUID]]) -> None:
    """Nothing goes on of spent blocks of subscriptions that have ended: (environment, account, subscription)."""
    if ended:
        await tx.connection.execute(_SQL["end_rollover"], *(list(column) for column in zip(*ended, strict=True)))


def _packed(terms: Terms | None) -> str | None:
    return None if terms is None else msgspec.json.encode(terms).decode()


async def update_accounts(tx: DatabaseTransaction, accounts: Sequence[Account]) -> None:
    """What there is of accounts that the caller holds locked, but for their blocks; `valid_until` follows from it."""
    periods = [None if a.counting is None else a.counting.period for a in accounts]
    await tx.connection.execute(
        _SQL["update_accounts"],
        [a.environment_id for a in accounts],
        [a.id for a in accounts],
        [a.revision for a in accounts],
        [a.seq for a in accounts],
        [a.total_micro for a in accounts],
        [a.debt_micro for a in accounts],
        [a.applied_micro for a in accounts],
        [moment_of(a.next_boundary()) for a in accounts],
        [to_datetime(a.posted_at) for a in accounts],
        [a.head_hash for a in accounts],
        [a.reserved_micro for a in accounts],
        [a.open_reservations for a in accounts],
        [calendar_text(a.counting) for a in accounts],
        [None if period is None else to_datetime(period.start_at) for period in periods],
        [None if period is None else to_datetime(period.end_at) for period in periods],
        [a.snapshot_id for a in accounts],
        [a.subscription_status for a in accounts],
        [moment_of(a.agenda_at) for a in accounts],
        [moment_of(a.composed_until) for a in accounts],
    )


async def insert_transactions(tx: DatabaseTransaction, transactions: Sequence[Transaction], now: datetime) -> None:
    """Transactions with their lines, recorded at `now`."""
    if not transactions:
        return
    await tx.connection.execute(
        _SQL["insert_transactions"],
        [t.environment_id for t in transactions],
        [t.account_id for t in transactions],
        [t.seq for t in transactions],
        [t.id for t in transactions],
        [t.kind for t in transactions],
        [t.actor for t in transactions],
        [t.reason for t in transactions],
        [t.idempotency_key for t in transactions],
        [t.total_before_micro for t in transactions],
        [t.total_after_micro for t in transactions],
        [t.events_digest for t in transactions],
        [to_datetime(t.posted_at) for t in transactions],
        [t.previous_hash for t in transactions],
        [t.hash for t in transactions],
        now,
    )
    lines = [(t, number, name, amount) for t in transactions for number, (name, amount) in enumerate(t.lines)]
    await tx.connection.execute(
        _SQL["insert_lines"],
        [t.environment_id for t, *_ in lines],
        [t.account_id for t, *_ in lines],
        [t.seq for t, *_ in lines],
        [number for _, number, *_ in lines],
        [name for *_, name, _ in lines],
        [amount for *_, amount in lines],
    )


async def find_posted_events(tx: DatabaseTransaction, events: Sequence[tuple[UUID, UUID]]) -> set[tuple[UUID, UUID]]:
    """Those of (environment, event id) that the ledger has already."""
    if not events:
        return set()
    environments, ids = [event[0] for event in events], [event[1] for event in events]
    rows = await tx.connection.fetch(_SQL["find_posted_events"], environments, ids)
    return {(row["environment_id"], row["id"]) for row in rows}


async def insert_events(tx: DatabaseTransaction, events: Sequence[PostedEvent], now: datetime) -> None:
    """Usage events as they were posted, and their keys.

    They travel by COPY, which costs a third of what arrays cost; row-level security keeps COPY to a temporary table.
    Raises UniqueViolationError where the ledger has one of them, MonthMissing where one has no partition to go to.
    """
    if not events:
        return
    await tx.connection.execute(_SQL["create_incoming_events"])
    await tx.connection.copy_records_to_table("incoming_events", records=[astuple(event) for event in events])
    await tx.connection.execute(_SQL["insert_event_keys"])
    try:
        await tx.connection.execute(_SQL["insert_events"], now)
    except CheckViolationError as error:
        if error.constraint_name is not None:
            raise
        raise MonthMissing(str(error)) from error  # what no partition takes breaks a check without a name


async def make_usage_partitions(tx: DatabaseTransaction, moments: Iterable[datetime]) -> int:
    """Make the partitions that are missing for events accepted at these moments; how many that were."""
    months = {(moment.year, moment.month): moment for moment in moments}
    return await tx.connection.fetchval(_SQL["make_usage_partitions"], list(months.values()))


async def add_usage(tx: DatabaseTransaction, used: Sequence[UsedInHour]) -> None:
    """Add signed amounts to the hours of accounts that the caller holds locked; the same hour may come several times.

    Whatever adds an event to the ledger, or takes the effect of one back, calls this in the same transaction.
    """
    if not used:
        return
    await tx.connection.execute(
        _SQL["add_usage"],
        [u.environment_id for u in used],
        [u.account_id for u in used],
        [u.feature_key for u in used],
        [to_datetime(u.hour_at) for u in used],
        [u.units_micro for u in used],
        [u.cost_micro for u in used],
        [u.events for u in used],
    )


async def sum_hours_since(
    tx: DatabaseTransaction, asked: Sequence[tuple[UUID, UUID, int]]
) -> list[dict[str, list[int]]]:
    """What was used from (environment, account, hour) on: [micro-units, micro-credits, events] by feature."""
    sums: list[dict[str, list[int]]] = [{} for _ in asked]
    environments, accounts = [each[0] for each in asked], [each[1] for each in asked]
    hours = [to_datetime(each[2]) for each in asked]
    for row in await tx.connection.fetch(_SQL["sum_hours_since"], environments, accounts, hours):
        figures = [int(row["units_micro"]), int(row["cost_micro"]), row["events"]]
        sums[row["number"] - 1][row["feature_key"]] = figures
    return sums


async def add_counters(tx: DatabaseTransaction, counted: Sequence[CountedUnits]) -> None:
    """Add signed units to the counters of accounts that the caller holds locked; one may come several times."""
    if not counted:
        return
    await tx.connection.execute(
        _SQL["add_counters"],
        [c.environment_id for c in counted],
        [c.account_id for c in counted],
        [to_datetime(c.period_at) for c in counted],
        [c.feature_key for c in counted],
        [c.units_micro for c in counted],
    )


def read_event_row(row: Record) -> PostedEvent:
    """A usage event from its row."""
    return PostedEvent(
        row["environment_id"],
        row["account_id"],
        row["seq"],
        row["id"],
        row["feature_key"],
        row["units_micro"],
        row["cost_micro"],
        row["debt_micro"],
        row["draws"],
        row["price_id"],
        row["idempotency_key"],
        row["properties"],
        to_at(row["occurred_at"]),
        to_at(row["accepted_at"]),
        None if row["period_at"] is None else to_at(row["period_at"]),
    )


def reservation_of(row: Record) -> Reservation:
    """A reservation from its row."""
    return Reservation(
        row["environment_id"],
        row["account_id"],
        row["id"],
        row["feature_key"],
        row["in_credits"],
        row["units_micro"],
        row["reserved_micro"],
        row["debt_micro"],
        row["draws"],
        row["price_id"],
        row["idempotency_key"],
        row["properties"],
        _at(row["period_at"]),
        to_at(row["opened_at"]),
        row["opened_seq"],
        to_at(row["expires_at"]),
        ReservationState(row["state"]),
        row["used_micro"],
        _at(row["ended_at"]),
        row["ended_seq"],
    )


def _at(moment: datetime | None) -> int | None:
    return None if moment is None else to_at(moment)
