"""Proof of draws: from blocks of the account, at their time, in burn order, and past none that had credit. Pure."""

from collections.abc import Callable
from uuid import UUID

import msgspec

from app.ledger.book import block_account
from app.rules.burndown import Block
from app.rules.moments import NEVER_AT

BurnOrder = tuple[int, int, bool, int, UUID]
"""Sort key of `rules.burndown`."""
LEAST_KNOWN_REVISION = 1
"""The edge takes nothing in for an account before it was published once: what was granted by then, it knows."""
Report = Callable[[int, str, str], None]
"""Takes invariant, row and message of a finding."""
Draws = list[tuple[UUID, int]]
"""(block id, micro-credits)."""

_decode_draws = msgspec.json.Decoder(Draws).decode


class BlockRow(msgspec.Struct, frozen=True):
    """A block as its row has it: `block.remaining_micro` is what the row says is left."""

    block: Block
    granted_micro: int
    lost_at: int = NEVER_AT
    """When it was lost, since the payment never came for which it waited."""


class Replayed(msgspec.Struct):
    """A block while the entries are posted again, from zero."""

    row: BlockRow
    order: BurnOrder
    remaining_micro: int = 0
    granted_micro: int = 0
    is_made: bool = False
    """Its first line, which made it, was met."""
    is_reported: bool = False
    """It was below zero or above what was granted: that is said once."""


class Taken(msgspec.Struct, frozen=True):
    """What one row says that it drew, and what it left owed; `at` decides which blocks were valid."""

    row: str
    at: int
    draws: Draws
    debt_micro: int


class DrawsProof:
    """Of one account. `open_blocks` are kept by the caller: those that have credit left after a transaction."""

    def __init__(
        self, blocks: dict[str, Replayed], open_blocks: list[tuple[BurnOrder, Replayed]], report: Report
    ) -> None:
        self.blocks = blocks
        self._open = open_blocks
        self._report = report

    def read(self, row: str, draws: str, invariant: int) -> Draws:
        """Draws from the text of a row; none where it cannot be read."""
        try:
            return _decode_draws(draws)
        except msgspec.MsgspecError as error:
            self._report(invariant, row, f"its draws cannot be read: {error}")
            return []

    def in_turn(self, taken: Taken) -> Taken:
        """The same in burn order, of a row that does not say in which turn it drew; what is no block comes last."""
        names = [block_account(block_id) for block_id, _ in taken.draws]
        known = sorted(
            (draw for draw, name in zip(taken.draws, names, strict=True) if name in self.blocks),
            key=lambda draw: self.blocks[block_account(draw[0])].order,
        )
        unknown = [draw for draw, name in zip(taken.draws, names, strict=True) if name not in self.blocks]
        return msgspec.structs.replace(taken, draws=[*known, *unknown])

    def prove(self, taken: Taken) -> None:
        """22, 23. Which blocks the edge knew is in no row, but whoever drew from a block knew all that are as old.

        A block is passed over for certain where it has credit left even after the whole transaction.
        """
        known, last = LEAST_KNOWN_REVISION, None
        for block_id, _ in taken.draws:
            replayed = self.blocks.get(block_account(block_id))
            if replayed is None:
                self._report(7, taken.row, f"draws from block {block_id}, which is none of the account's")
                continue
            block = replayed.row.block
            if not block.effective_at <= taken.at < block.expires_at:
                self._report(23, taken.row, f"draws from block {block_id}, which was not valid at that time")
            if last is not None and replayed.order <= last:
                self._report(22, taken.row, f"draws from block {block_id} out of turn")
            last, known = replayed.order, max(known, block.known_revision)
        if taken.debt_micro or last is not None:
            self._prove_nothing_passed(taken, None if taken.debt_micro else last, known)

    def _prove_nothing_passed(self, taken: Taken, last: BurnOrder | None, known: int) -> None:
        """`last` None = everything that is open was to be drawn."""
        for order, replayed in self._open:
            if last is not None and order >= last:
                return
            block = replayed.row.block
            if block.effective_at <= taken.at < block.expires_at and block.known_revision <= known:
                message = f"passes over block {block.id}, which has {replayed.remaining_micro} left after it"
                self._report(22, taken.row, message)
                return
