"""Proof of the checkpoints: each is what its heads make of it, and follows the one before it. 9 is the chain's number.

That the heads are those of the ledger's chains is proved with each account (`app.ledger.verify`).
"""

from collections.abc import Callable, Sequence
from uuid import UUID

from app.io.postgres import Record
from app.io.postgres import Transaction as DatabaseTransaction
from app.io.statements import statements
from app.ledger.checkpoints import Checkpoint, checkpoint_of
from app.ledger.evidence import Held, KeyedRows, Selection
from app.ledger.proof import Finding
from app.rules import chain

_SQL = statements("app.ledger")
CHAIN = 9
Report = Callable[[UUID, Finding], None]


class _Progress:
    """What the checkpoints of one environment add up to, so far."""

    def __init__(self) -> None:
        self.hash = chain.GENESIS
        self.accounts = 0
        self.transactions = 0


async def prove_checkpoints(
    tx: DatabaseTransaction, selection: Selection, kept: Sequence[Checkpoint], held: Held, report: Report
) -> int:
    """Prove every checkpoint of the selected environments, and compare with those kept outside; how many there are."""
    checkpoints = await _rows(tx, "read_all_checkpoints", selection, held, lambda _row: None)
    heads = await _rows(tx, "read_all_heads_by_day", selection, held, lambda row: report(*_without_checkpoint(row)))
    expected = {(outside.environment_id, outside.day): outside for outside in kept}
    count, environment_id, progress = 0, None, _Progress()
    async for page in checkpoints.pages():
        for row in page:
            found = checkpoint_of(row)
            if found.environment_id != environment_id:
                environment_id, progress = found.environment_id, _Progress()
            await _prove(found, heads, progress, report)
            _compare(found, expected.pop((found.environment_id, found.day), found), report)
            count += 1
    await heads.pass_rest()
    for environment_id, day in expected:
        if selection.environment_ids is None or environment_id in selection.environment_ids:
            report(environment_id, Finding(CHAIN, _row(environment_id, day), "is kept outside, and is not here"))
    return count


async def _rows(
    tx: DatabaseTransaction, statement: str, selection: Selection, held: Held, passed: Callable[[Record], None]
) -> KeyedRows:
    cursor = await tx.connection.cursor(_SQL[statement], selection.environment_ids)
    return KeyedRows(cursor.fetch, 2, held, passed)


async def _prove(found: Checkpoint, heads: KeyedRows, progress: _Progress, report: Report) -> None:
    digest = chain.RunningDigest()
    while rows := await heads.of((found.environment_id, found.day)):
        for row in rows:
            digest.add(chain.ChainedHead(row["account_id"].bytes, row["seq"], row["hash"]))
            progress.accounts += row["seq_before"] is None
            progress.transactions += row["seq"] - (row["seq_before"] or 0)
    wrong = {
        "does not name the hash of the checkpoint before it": found.previous_hash != progress.hash,
        "its hash is not the one of its content": found.hash != found.computed_hash(),
        "its heads are not the ones that it was taken of": found.digest != digest.value(),
        f"counts {found.accounts} accounts, its heads are of {progress.accounts}": found.accounts != progress.accounts,
        f"counts {found.transactions} transactions, its heads stand for {progress.transactions}": found.transactions
        != progress.transactions,
    }
    for message, is_so in wrong.items():
        if is_so:
            report(found.environment_id, Finding(CHAIN, _row(found.environment_id, found.day), message))
    progress.hash, progress.accounts, progress.transactions = found.hash, found.accounts, found.transactions


def _compare(found: Checkpoint, outside: Checkpoint, report: Report) -> None:
    if found != outside:
        message = f"has the hash {found.hash.hex()}, the one kept outside {outside.hash.hex()}"
        report(found.environment_id, Finding(CHAIN, _row(found.environment_id, found.day), message))


def _without_checkpoint(row: Record) -> tuple[UUID, Finding]:
    message = f"there is no checkpoint of {row['day']}"
    return row[0], Finding(CHAIN, f"ledger_checkpoint_heads {row['account_id']} seq {row['seq']}", message)


def _row(environment_id: UUID, day: object) -> str:
    return f"ledger_checkpoints {environment_id} {day}"
