"""Accounts held against the newest part of their ledger, and the edge against both, while everything is at work.

A look is of one moment in Postgres and a later one in Redis. What is compared holds at every moment, or is judged by
two looks: revisions only rise, and a stream that is published up to a cursor has told of everything that this cursor
read. So load, lag and processes that stand still are no drift, however long they last.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from uuid import UUID

import msgspec

from app.io.cluster import run_all
from app.io.edge_accounts import EdgeAccounts, StreamId, Unreadable, read_edge_accounts
from app.io.postgres import Database, Record
from app.io.postgres import Transaction as DatabaseTransaction
from app.io.redis import AccountView, RedisStore, RedisUnavailable
from app.io.statements import statements
from app.ledger.edge_proof import Published, compare_accepted, compare_published
from app.ledger.figures_proof import Figures, compare_blocks, compare_end
from app.ledger.proof import Finding
from app.ledger.store import PartitionCursor
from app.rules import chain
from app.wire import keys
from app.wire.events import parse_stream_id

_SQL = statements("app.ledger")
PROVED_TRANSACTIONS = 100
"""So many of an account's newest transactions are summed, those since its checkpoint at most; `verify` sums all."""
MOST_ENTRIES = 200
"""Entries of a partition that wait to be posted; where there are more, what is accepted is compared another time."""
NOTHING_READ = PartitionCursor(None, (0, 0))
Customer = tuple[UUID, str]
"""Environment and end user."""


class LedgerSide(msgspec.Struct, frozen=True):
    """What the ledger says of an account at one moment."""

    environment_id: UUID
    end_user_id: str
    figures: Figures
    revision: int
    applied_micro: int
    has_base: bool
    """The transaction is there that the newest ones follow."""
    is_checkpointed: bool
    """It is the one that the checkpoint has, where it is a checkpoint's."""
    is_gapless: bool
    is_dirty: bool
    """Somebody has changed the account and is about to publish it."""
    cursor: PartitionCursor

    @property
    def published(self) -> Published:
        """What the edge is told of it."""
        return Published(self.figures.row, self.revision, self.figures.total_micro, self.applied_micro)


class EdgeSide(msgspec.Struct, frozen=True):
    """What Redis says of it a moment later, where that is the memory which the ledger's cursor speaks of."""

    view: AccountView | Unreadable
    published: StreamId
    costs_micro: int | None
    """Of the account's entries behind the cursor; None = there are too many of everybody's."""


class Look(msgspec.Struct, frozen=True):
    """Both. `edge` None = it is not loaded, or nothing can be said of it."""

    ledger: LedgerSide
    edge: EdgeSide | None

    @property
    def customer(self) -> Customer:
        """Whose account it is."""
        return self.ledger.environment_id, self.ledger.end_user_id

    def of_ledger(self) -> "Look":
        """Without the edge."""
        return Look(self.ledger, None)


def find(look: Look) -> list[Finding]:
    """What does not hold by this look alone."""
    found: list[Finding] = []
    ledger, edge = look.ledger, look.edge

    def report(invariant: int, row: str, message: str) -> None:
        found.append(Finding(invariant, row, message))

    compare_end(ledger.figures, report)
    compare_blocks(ledger.figures, report)
    row = ledger.figures.row
    if not ledger.has_base or not ledger.is_gapless:
        report(10, row, "among its newest transactions, one is missing")
    if not ledger.is_checkpointed:
        report(9, row, "its checkpoint has another hash of its transaction: the chain was rewritten")
    if edge is not None and edge.published >= ledger.cursor.last_id:  # else it is not told yet, or it went back
        if isinstance(edge.view, Unreadable):
            return [*found, Finding(42, row, f"the edge has figures that are none: {edge.view.why}")]
        found += compare_published(ledger.published, edge.view)
        if edge.costs_micro is not None:
            found += compare_accepted(ledger.published, edge.view, edge.costs_micro)
    return found


def is_suspect(look: Look) -> bool:
    """Whether a second look is needed."""
    return bool(find(look)) or _told(look) not in (None, look.ledger.revision)


def _told(look: Look) -> int | None:
    """The revision that the edge has, where it has one."""
    return None if look.edge is None or isinstance(look.edge.view, Unreadable) else look.edge.view.revision


def judge(first: Look, second: Look) -> list[Finding]:
    """What has not held at either look, or cannot be between them. `second` began after `first` was over."""
    if first.edge is not None and first.edge.published > second.ledger.cursor.last_id:
        first, second = first.of_ledger(), second.of_ledger()  # which was restored: the flusher begins anew
    before = {finding.invariant for finding in find(first)}
    found = [finding for finding in find(second) if finding.invariant in before]
    told, row = _told(second), second.ledger.figures.row
    if second.edge is None or told is None:
        return found
    was_published = second.edge.published >= second.ledger.cursor.last_id
    if told < first.ledger.revision and was_published and not second.ledger.is_dirty:
        found.append(Finding(42, row, f"the edge was not told of revision {first.ledger.revision}, it has {told}"))
    if min(told, _told(first) or 0) > second.ledger.revision:
        message = f"the edge has revision {told}, the ledger is at {second.ledger.revision}"
        found.append(Finding(37, row, message))
    return found


class Looks(msgspec.Struct, frozen=True):
    """Of accounts, and what those of Redis' servers failed with that are away: of their accounts there is no look."""

    looks: list[Look]
    failures: list[RedisUnavailable]


async def look_at(database: Database, redis: RedisStore, customers: Sequence[Customer]) -> Looks:
    """One look at each of these accounts that there is; some hundreds at most."""
    names = [customer[0] for customer in customers], [customer[1] for customer in customers]

    async def read(tx: DatabaseTransaction) -> tuple[list[Record], list[Record]]:
        cursors = await tx.connection.fetch(_SQL["read_cursors"])
        return cursors, await tx.connection.fetch(_SQL["read_figures_to_prove"], *names, PROVED_TRANSACTIONS)

    cursor_rows, rows = await database.run(None, read, isolation="repeatable_read")
    cursors = {
        row["partition"]: PartitionCursor(row["incarnation"], parse_stream_id(row["last_id"].encode()))
        for row in cursor_rows
    }
    by_partition: dict[int, list[LedgerSide]] = defaultdict(list)
    for row in rows:
        partition = redis.partition(_ref(row["environment_id"], row["end_user_id"]))
        by_partition[partition].append(_ledger_side(row, cursors.get(partition, NOTHING_READ)))
    found = await run_all(_look_at_edge(redis, partition, there) for partition, there in by_partition.items())
    return Looks(
        [look for looks in found for look in looks.looks], [error for looks in found for error in looks.failures]
    )


async def list_accounts_after(database: Database, place: tuple[UUID, UUID], limit: int) -> list[tuple[UUID, UUID, str]]:
    """(environment, account, end user) of accounts behind a place, in the order of their key."""

    async def read(tx: DatabaseTransaction) -> list[tuple[UUID, UUID, str]]:
        rows = await tx.connection.fetch(_SQL["list_accounts_after"], *place, limit)
        return [(row[0], row[1], row[2]) for row in rows]

    return await database.run(None, read)


def customers_of(refs: Iterable[bytes]) -> list[Customer]:
    """Whose these names in Redis are; what is nobody's is left out."""
    found: list[Customer] = []
    for ref in refs:
        try:
            customer = keys.parse_account_ref(ref)
        except ValueError:
            continue  # an entry that cannot be read, which the flusher lists as rejected
        if "\0" not in customer[1]:  # no column takes it, so nobody has that name
            found.append(customer)
    return found


def _ref(environment_id: UUID, end_user_id: str) -> bytes:
    return keys.account_ref(keys.environment_ref(environment_id), end_user_id)


def _ledger_side(row: Record, cursor: PartitionCursor) -> LedgerSide:
    figures = Figures(
        account_id=row["id"],
        seq=row["seq"],
        last_seq=row["last_seq"] or 0,
        head_hash=row["head_hash"],
        last_hash=row["last_hash"] or chain.GENESIS,
        total_micro=row["total_micro"],
        entries_micro=int(row["entries_micro"]),
        debt_micro=row["debt_micro"],
        remaining_micro=int(row["remaining_micro"]),
    )
    return LedgerSide(
        row["environment_id"],
        row["end_user_id"],
        figures,
        row["revision"],
        row["applied_micro"],
        has_base=row["has_base"],
        is_checkpointed=row["is_checkpointed"],
        is_gapless=row["is_gapless"],
        is_dirty=row["is_dirty"],
        cursor=cursor,
    )


async def _look_at_edge(redis: RedisStore, partition: int, there: Sequence[LedgerSide]) -> Looks:
    cursor = there[0].cursor
    refs = [_ref(side.environment_id, side.end_user_id) for side in there]
    try:
        found = await read_edge_accounts(redis, partition, refs, cursor.last_id, MOST_ENTRIES)
    except RedisUnavailable as error:
        return Looks([], [error])
    sides = zip(there, refs, found.views, strict=True)
    return Looks([Look(side, _edge_side(found, ref, view, cursor)) for side, ref, view in sides], [])


def _edge_side(
    found: EdgeAccounts, ref: bytes, view: AccountView | Unreadable | None, cursor: PartitionCursor
) -> EdgeSide | None:
    if view is None or cursor.incarnation is None or found.incarnation != cursor.incarnation:
        return None
    costs = found.costs_micro
    return EdgeSide(view, found.published, None if costs is None else costs.get(ref, 0))
