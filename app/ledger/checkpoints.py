"""Checkpoints: once a day the heads of all chains of an environment, chained themselves, and kept outside too.

Whoever may change anything here may compute a chain anew; then its head is no longer the one that a checkpoint has. A
checkpoint outside shows that the checkpoints were not computed anew as well. See docs/decisions/0013-checkpoints.md.
"""

from datetime import date, datetime
from pathlib import Path
from uuid import UUID

import msgspec

from app.io.postgres import Database, Record, Transaction, UniqueViolationError
from app.io.statements import statements
from app.ledger.evidence import PAGE_ROWS
from app.rules import chain
from app.rules.moments import to_at

_SQL = statements("app.ledger")
FORMAT = 1
"""Of the JSON document. Raised where a member changes its meaning or goes."""


class UnreadableCheckpoints(Exception):
    """The file is not what `quotastack ledger checkpoint` printed. Its text is for the operator."""


class Checkpoint(msgspec.Struct, frozen=True):
    """A checkpoint as its row has it, and as it is kept outside, where hashes are hexadecimal."""

    environment_id: UUID
    day: date
    taken_at: datetime
    accounts: int
    transactions: int
    digest: bytes
    previous_hash: bytes
    hash: bytes

    def computed_hash(self) -> bytes:
        """What its hash has to be."""
        return chain.checkpoint_hash(
            self.previous_hash,
            chain.ChainedCheckpoint(
                self.environment_id.bytes,
                self.day.isoformat(),
                to_at(self.taken_at),
                self.accounts,
                self.transactions,
                self.digest,
            ),
        )


class CheckpointDocument(msgspec.Struct, frozen=True):
    """The newest checkpoint of each environment, for keeping elsewhere."""

    format: int
    checkpoints: list["KeptCheckpoint"]


class KeptCheckpoint(msgspec.Struct, frozen=True):
    """A checkpoint as JSON has it: bytes are hexadecimal."""

    environment_id: UUID
    day: date
    taken_at: datetime
    accounts: int
    transactions: int
    digest: str
    previous_hash: str
    hash: str


def checkpoint_of(row: Record) -> Checkpoint:
    """A checkpoint from its row."""
    return Checkpoint(*row)


def show_checkpoints(checkpoints: list[Checkpoint]) -> bytes:
    """The JSON document, one line."""
    kept = [
        KeptCheckpoint(
            *(found.environment_id, found.day, found.taken_at, found.accounts, found.transactions),
            *(found.digest.hex(), found.previous_hash.hex(), found.hash.hex()),
        )
        for found in checkpoints
    ]
    return msgspec.json.encode(CheckpointDocument(FORMAT, kept))


def read_document(path: Path) -> list[Checkpoint]:
    """The checkpoints in a file. Raises UnreadableCheckpoints, or OSError."""
    try:
        document = msgspec.json.decode(path.read_bytes(), type=CheckpointDocument)
        if document.format != FORMAT:
            raise UnreadableCheckpoints(f"its format is {document.format}, this release reads {FORMAT}")
        return [
            Checkpoint(
                *(kept.environment_id, kept.day, kept.taken_at, kept.accounts, kept.transactions),
                *(bytes.fromhex(text) for text in (kept.digest, kept.previous_hash, kept.hash)),
            )
            for kept in document.checkpoints
        ]
    except (msgspec.MsgspecError, ValueError) as error:
        raise UnreadableCheckpoints(str(error)) from error


async def read_latest(database: Database, environment_id: UUID | None) -> list[Checkpoint]:
    """The newest checkpoint of each environment, or of one."""

    async def read(tx: Transaction) -> list[Checkpoint]:
        rows = await tx.connection.fetch(_SQL["read_latest_checkpoints"], environment_id)
        return [checkpoint_of(row) for row in rows]

    return await database.run(None, read)


async def list_due(database: Database, now: datetime, limit: int) -> list[UUID]:
    """Environments that have no checkpoint of this UTC day."""

    async def read(tx: Transaction) -> list[UUID]:
        rows = await tx.connection.fetch(_SQL["list_environments_without_checkpoint"], now.date(), limit)
        return [row["id"] for row in rows]

    return await database.run(None, read)


async def take(database: Database, environment_id: UUID, now: datetime) -> bool:
    """Take the checkpoint of the UTC day of `now`, of this moment. False where another process has just taken one."""

    async def work(tx: Transaction) -> None:
        # A whole environment is read, which on the first day is every account.
        await tx.connection.execute("SET LOCAL statement_timeout = 0")
        await _insert(tx, environment_id, now)

    try:
        await database.run(environment_id, work, isolation="repeatable_read")
    except UniqueViolationError:
        return False
    return True


async def _insert(tx: Transaction, environment_id: UUID, now: datetime) -> None:
    day = now.date()
    await tx.connection.execute(_SQL["insert_checkpoint_heads"], environment_id, day)
    digest = chain.RunningDigest()
    cursor = await tx.connection.cursor(_SQL["read_checkpoint_heads"], environment_id, day)
    while rows := await cursor.fetch(PAGE_ROWS):
        for row in rows:
            digest.add(chain.ChainedHead(*row))
    [latest] = await tx.connection.fetch(_SQL["read_latest_checkpoints"], environment_id) or [None]
    [(accounts, transactions)] = await tx.connection.fetch(_SQL["sum_chains"], environment_id)
    previous_hash = chain.GENESIS if latest is None else latest["hash"]
    taken = Checkpoint(environment_id, day, now, accounts, transactions, digest.value(), previous_hash, b"")
    await tx.connection.execute(_SQL["insert_checkpoint"], *_figures(taken), taken.computed_hash())


def _figures(taken: Checkpoint) -> tuple[object, ...]:
    return (
        taken.environment_id,
        taken.day,
        taken.taken_at,
        taken.accounts,
        taken.transactions,
        taken.digest,
        taken.previous_hash,
    )
