"""Reading the audit log: pages of what is asked for, and all of it as a file."""

import csv
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from functools import partial
from io import StringIO
from uuid import UUID

import msgspec

from app.io.postgres import Transaction
from app.rules.moments import to_at
from app.trail import store
from app.trail.schemas import AuditEntryBody, show_entry
from app.trail.store import AuditRow
from app.web.bodies import encode
from app.web.reader import Reader
from app.wire.ids import uuid7

EXPORT_PAGE = 1_000
"""Rows of an export that are in memory at a time."""
FIRST_ID, LAST_ID = UUID(int=0), UUID(int=(1 << 128) - 1)
_MILLISECOND = 1_000
"""In microseconds."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet would run."""


class Asked(msgspec.Struct, frozen=True):
    """What of the log is asked for, in [start_at, end_at); None does not narrow it."""

    start_at: datetime | None = None
    end_at: datetime | None = None
    actor: str | None = None
    subject_kind: str | None = None
    subject_id: str | None = None

    @property
    def first_id(self) -> UUID:
        """No row that is asked for has a lower id: it begins with the millisecond of the row's moment."""
        return FIRST_ID if self.start_at is None else uuid7(max(0, to_at(self.start_at)), 0)

    @property
    def end_id(self) -> UUID:
        """Every row that is asked for has a lower id."""
        return LAST_ID if self.end_at is None else uuid7(max(0, to_at(self.end_at)) + _MILLISECOND, 0)


async def list_entries(tx: Transaction, asked: Asked, before: UUID | None, limit: int) -> list[AuditRow]:
    """Rows, the newest first, of those before the one with the id `before`."""
    end_id = asked.end_id if before is None else min(asked.end_id, before)
    return await store.list_audit(tx, (asked.first_id, end_id), msgspec.structs.astuple(asked), limit)


async def export(reader: Reader, asked: Asked, write: Callable[[Sequence[AuditRow]], bytes]) -> AsyncIterator[bytes]:
    """Everything that is asked for, the newest first, a bounded part at a time.

    Each part is a transaction of its own: a slow client holds none open. Nothing is missed or told twice, since rows
    are only ever added, above the first.
    """
    before: UUID | None = None
    rows: list[AuditRow] = []
    while before is None or len(rows) == EXPORT_PAGE:
        rows = await reader.run(partial(list_entries, asked=asked, before=before, limit=EXPORT_PAGE))
        yield write(rows)
        before = rows[-1].id if rows else FIRST_ID


def write_lines(rows: Sequence[AuditRow]) -> bytes:
    """Rows as JSON, one a line."""
    return b"".join(encode(show_entry(row)) + b"\n" for row in rows)


def write_cells(rows: Sequence[AuditRow]) -> bytes:
    """Rows as CSV (RFC 4180); no cell is a formula, whoever chose its text."""
    text = StringIO()
    writer = csv.writer(text)
    for row in rows:
        body = show_entry(row)
        writer.writerow([_cell(getattr(body, name)) for name in AuditEntryBody.__struct_fields__])
    return text.getvalue().encode()


def head_of_cells() -> bytes:
    """The first line of the CSV: the names of the columns."""
    return (",".join(AuditEntryBody.__struct_fields__) + "\r\n").encode()


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case datetime():
            shown = encode(value).decode().strip('"')
        case msgspec.Raw():
            shown = bytes(value).decode()
        case _:
            shown = str(value)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown
