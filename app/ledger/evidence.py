"""All rows of a ledger for proving it, as of one moment, in one order, a page at a time.

Each table is read once, ordered by (environment, account, seq), and what belongs together meets as pages are turned: so
what is in memory has a bound, however many events one account has, and a row without an owner is one that is passed.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID

import msgspec

from app.io.postgres import Record
from app.io.postgres import Transaction as DatabaseTransaction
from app.io.statements import statements
from app.ledger import store
from app.ledger.book import Account, Lines, Transaction
from app.ledger.draws_proof import BlockRow
from app.ledger.proof import Finding
from app.rules.chain import ChainedEvent, text_digest
from app.rules.moments import to_at

_SQL = statements("app.ledger")
PAGE_ROWS = 2_000
"""Rows of one table that are held at once."""
ACCOUNTS_TOGETHER = 200
"""Accounts that are asked of Redis at once."""

Key = tuple[Any, ...]
Passed = Callable[[Record], None]


class Selection(msgspec.Struct, frozen=True):
    """What is proved; None = all."""

    environment_ids: list[UUID] | None = None
    account_ids: list[UUID] | None = None
    end_user_id: str | None = None


class Held(msgspec.Struct):
    """How many rows are in memory, and how many there were at most."""

    rows: int = 0
    most: int = 0

    def change(self, rows: int) -> None:
        """So many more."""
        self.rows += rows
        self.most = max(self.most, self.rows)


class KeyedRows:
    """Rows that are ordered by their first `width` columns, from a cursor, a page at a time."""

    def __init__(self, fetch: Callable[[int], Awaitable[list[Record]]], width: int, held: Held, passed: Passed) -> None:
        self._fetch = fetch
        self._width = width
        self._held = held
        self._passed = passed
        self._page: Sequence[Record] = ()
        self._next = 0
        self._has_more = True

    async def of(self, key: Key) -> Sequence[Record]:
        """The next rows of this key that are in one page; none where there are no more. Rows before it are passed."""
        width = self._width
        while self._next < len(self._page) or await self._turn():
            page, first = self._page, self._next
            found = page[first][:width]
            if found == key:
                end, last = first + 1, len(page)
                while end < last and page[end][:width] == key:
                    end += 1
                self._next = end
                return page[first:end]
            if found > key:
                break
            self._passed(page[first])
            self._next += 1
        return ()

    async def pages(self) -> AsyncIterator[Sequence[Record]]:
        """All rows, by page."""
        while await self._turn():
            yield self._page

    async def pass_rest(self) -> None:
        """Nothing that is left belongs to anything."""
        while self._next < len(self._page) or await self._turn():
            for row in self._page[self._next :]:
                self._passed(row)
            self._next = len(self._page)

    async def _turn(self) -> bool:
        if not self._has_more:
            return False
        before = len(self._page)
        self._page = ()
        self._page = await self._fetch(PAGE_ROWS)
        self._held.change(len(self._page) - before)
        self._next = 0
        self._has_more = bool(self._page)
        return self._has_more


class Evidence(msgspec.Struct, frozen=True):
    """The tables of a ledger, each to be read along with the accounts."""

    accounts: KeyedRows
    blocks: KeyedRows
    transactions: KeyedRows
    lines: KeyedRows
    events: KeyedRows
    heads: KeyedRows
    reservations: KeyedRows
    held: Held

    async def pass_rest(self) -> None:
        """Report what follows the last account."""
        for rows in (self.blocks, self.transactions, self.lines, self.events, self.heads, self.reservations):
            await rows.pass_rest()


async def open_evidence(
    tx: DatabaseTransaction, selection: Selection, report: Callable[[UUID, Finding], None]
) -> Evidence:
    """The tables as `tx` sees them; rows that belong to nothing are reported with their environment."""
    held, chosen = Held(), (selection.environment_ids, selection.account_ids)

    async def rows(statement: str, width: int, orphan: Callable[[Record], Finding]) -> KeyedRows:
        cursor = await tx.connection.cursor(_SQL[statement], *chosen)
        return KeyedRows(cursor.fetch, width, held, lambda row: report(row[0], orphan(row)))

    return Evidence(
        await rows("read_all_accounts", 2, _no_account),
        await rows("read_all_blocks", 2, _no_account_of_block),
        await rows("read_all_transactions", 2, _no_account),
        await rows("read_all_lines", 3, _no_transaction_of_line),
        await rows("read_all_events", 3, _no_transaction_of_event),
        await rows("read_all_heads", 3, _no_transaction_of_head),
        await rows("read_all_reservations", 3, _no_transaction_of_reservation),
        held,
    )


def _no_account(row: Record) -> Finding:
    return Finding(2, f"ledger_transactions {row[1]} seq {row[2]}", "there is no such account")


def _no_account_of_block(row: Record) -> Finding:
    return Finding(4, f"credit_blocks {row['id']}", f"there is no account {row[1]}")


def _no_transaction_of_line(row: Record) -> Finding:
    return Finding(2, f"ledger_lines {row[1]} seq {row[2]} line {row['line']}", "there is no such transaction")


def _no_transaction_of_event(row: Record) -> Finding:
    return Finding(7, f"usage_events {UUID(bytes=row[3])}", f"account {row[1]} has no transaction {row[2]}")


def _no_transaction_of_head(row: Record) -> Finding:
    message = f"the checkpoint of {row['day']} has this transaction, the ledger has not"
    return Finding(9, f"ledger_checkpoint_heads {row[1]} seq {row[2]}", message)


def _no_transaction_of_reservation(row: Record) -> Finding:
    return Finding(28, f"reservations {row['id']}", f"account {row[1]} has no transaction {row[2]}")


async def read_accounts(evidence: Evidence) -> AsyncIterator[list[Account]]:
    """The accounts in their order, some at a time, without their blocks."""
    async for page in evidence.accounts.pages():
        for start in range(0, len(page), ACCOUNTS_TOGETHER):
            yield [store.account_of(row) for row in page[start : start + ACCOUNTS_TOGETHER]]


async def read_blocks(evidence: Evidence, owner: Key) -> list[BlockRow]:
    """Every block of (environment, account)."""
    found: list[BlockRow] = []
    while rows := await evidence.blocks.of(owner):
        found += [BlockRow(store.block_of(row), row["granted_micro"], store.at_of(row["lost_at"])) for row in rows]
    return found


async def read_lines(evidence: Evidence, key: Key) -> Lines:
    """The lines of (environment, account, seq)."""
    found: Lines = []
    while rows := await evidence.lines.of(key):
        found += [(row[4], row[5]) for row in rows]
    return found


def transaction_of(row: Record, lines: Lines) -> Transaction:
    """A transaction from its row: columns by place, as for events."""
    return Transaction(
        row[0],
        row[1],
        row[2],
        row[3],
        row[4],
        row[5],
        row[6],
        row[7],
        row[8],
        row[9],
        row[10],
        to_at(row[11]),
        row[12],
        row[13],
        lines,
    )


def event_of(row: Record) -> ChainedEvent:
    """What the chain covers of an event, from its row: columns by place, for there are millions of them."""
    return ChainedEvent(
        row[3],
        row[4],
        row[5],
        row[6],
        row[7],
        row[8],
        to_at(row[9]),
        to_at(row[10]),
        row[11],
        text_digest(row[12]),
        text_digest(row[13]),
    )


async def list_customers(
    tx: DatabaseTransaction, environment_id: UUID | None, end_user_id: str
) -> list[tuple[UUID, UUID]]:
    """(environment, account) of an end user, in one environment or in all."""
    rows = await tx.connection.fetch(_SQL["list_customers_to_verify"], environment_id, end_user_id)
    return [(row["environment_id"], row["id"]) for row in rows]


async def has_environment(tx: DatabaseTransaction, environment_id: UUID) -> bool:
    """Whether there is such an environment."""
    return await tx.connection.fetchval(_SQL["has_environment"], environment_id)


async def count_rows(tx: DatabaseTransaction, selection: Selection) -> tuple[int, int, int]:
    """(accounts, events, rejected events) of the selection."""
    chosen = (selection.environment_ids, selection.account_ids, selection.end_user_id)
    row = await tx.connection.fetchrow(_SQL["count_rows"], *chosen)
    return tuple(row or (0, 0, 0))


class Guard(msgspec.Struct, frozen=True):
    """What a table of the ledger is guarded by."""

    table: str
    has_key: bool
    refuses_change: bool


async def read_guards(tx: DatabaseTransaction, tables: Sequence[str]) -> list[Guard]:
    """The guards of these tables."""
    return [Guard(*row) for row in await tx.connection.fetch(_SQL["read_guards"], tables)]


async def list_usage_gaps(
    tx: DatabaseTransaction, environment_id: UUID | None, limit: int
) -> list[tuple[UUID, Finding]]:
    """(environment, finding) of hours that are not the sum of their events; `environment_id` None = of all."""
    found: list[tuple[UUID, Finding]] = []
    for row in await tx.connection.fetch(_SQL["list_usage_gaps"], environment_id, limit):
        hour = f"usage_hours {row['account_id']} {row['feature_key']} {row['hour_at'].isoformat()}"
        said = tuple(str(row[name]) for name in ("units_micro", "cost_micro", "events"))
        summed = tuple(str(row[f"summed_{name}"]) for name in ("units_micro", "cost_micro", "events"))
        message = f"has (units, cost, events) ({', '.join(said)}), its events give ({', '.join(summed)})"
        found.append((row["environment_id"], Finding(61, hour, message)))
    return found


async def list_counter_gaps(
    tx: DatabaseTransaction, environment_id: UUID | None, limit: int
) -> list[tuple[UUID, Finding]]:
    """(environment, finding) of counters of units that are not the sum of what counts in their period."""
    found: list[tuple[UUID, Finding]] = []
    for row in await tx.connection.fetch(_SQL["list_counter_gaps"], environment_id, limit):
        counter = f"usage_counters {row['account_id']} {row['feature_key']} {row['period_at'].isoformat()}"
        message = f"has {row['units_micro']} units, its events and open reservations give {row['summed_units_micro']}"
        found.append((row["environment_id"], Finding(66, counter, message)))
    return found


async def list_key_gaps(tx: DatabaseTransaction, environment_id: UUID | None, limit: int) -> list[tuple[UUID, Finding]]:
    """(environment, finding) of events without their key and keys without their event."""
    found: list[tuple[UUID, Finding]] = []
    for row in await tx.connection.fetch(_SQL["list_key_gaps"], environment_id, limit):
        table, message = ("usage_event_keys", "names no event") if row["has_key"] else ("usage_events", "has no key")
        found.append((row["environment_id"], Finding(62, f"{table} {row['id']}", message)))
    return found


async def list_order_gaps(
    tx: DatabaseTransaction, environment_id: UUID | None, limit: int
) -> list[tuple[UUID, Finding]]:
    """(environment, finding) of orders without their transaction and corrections without their order."""
    rows = await tx.connection.fetch(_SQL["list_order_gaps"], environment_id, limit)
    return [(row["environment_id"], Finding(63, row["name"], row["message"])) for row in rows]
