"""What an account's row says, held against the end of its chain, its entries and its blocks. Pure.

`AccountProof` comes here with all that was ever posted, the detector of drift with the newest part of it.
"""

from uuid import UUID

import msgspec

from app.ledger.draws_proof import Report


class Figures(msgspec.Struct, frozen=True):
    """An account as its row has it, and what its transactions and blocks come to. In micro-credits."""

    account_id: UUID
    seq: int
    last_seq: int
    """Of the account's last transaction; 0 = it has none."""
    head_hash: bytes
    last_hash: bytes
    """Of that transaction."""
    total_micro: int
    entries_micro: int
    """What the lines of blocks and debt sum to."""
    debt_micro: int
    remaining_micro: int
    """Of all blocks that were granted."""

    @property
    def row(self) -> str:
        """Table and key, for findings."""
        return f"accounts {self.account_id}"


def compare_end(figures: Figures, report: Report) -> None:
    """The account is where its last transaction is (10, 9), and its total what its entries give (13)."""
    row = figures.row
    if figures.last_seq != figures.seq:
        report(10, row, f"is at seq {figures.seq}, its transactions end at {figures.last_seq}")
    if figures.last_hash != figures.head_hash:
        report(9, row, "its head is not the hash of its last transaction")
    if figures.entries_micro != figures.total_micro:
        report(13, row, f"has a total of {figures.total_micro}, its entries give {figures.entries_micro}")


def compare_blocks(figures: Figures, report: Report) -> None:
    """The total is what remains of all blocks less what is owed (3)."""
    if figures.total_micro != figures.remaining_micro - figures.debt_micro:
        message = f"total {figures.total_micro} is not {figures.remaining_micro} - {figures.debt_micro} of debt"
        report(3, figures.row, message)
