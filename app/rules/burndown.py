"""Which block is spent first.

The order is total and published: priority ascending, expires_at ascending with never last, free before paid,
granted_at, id. It does not depend on the moment, so a sorted list stays sorted; what a moment decides is who is
eligible.
"""

from collections.abc import Iterable
from uuid import UUID

import msgspec

from app.rules.moments import NEVER_AT


class Block(msgspec.Struct):
    """A credit block as the ledger holds it while it posts.

    Moments are microseconds; never = `rules.moments.NEVER_AT`.
    """

    id: UUID
    remaining_micro: int
    priority: int
    paid: bool
    known_revision: int
    """The revision with which the edge learned of the block: entries decided before it may not draw from it."""
    effective_at: int
    expires_at: int
    granted_at: int


class Draw(msgspec.Struct, frozen=True):
    """What one posting takes from one block."""

    block: Block
    amount_micro: int


def burn_order(block: Block) -> tuple[int, int, bool, int, UUID]:
    """Sort key of the published order."""
    return block.priority, block.expires_at, block.paid, block.granted_at, block.id


def sort_blocks(blocks: Iterable[Block]) -> list[Block]:
    """The blocks in burn order."""
    return sorted(blocks, key=burn_order)


def is_eligible(block: Block, at: int, revision: int) -> bool:
    """Whether an entry accepted `at`, by an edge that knew `revision`, may draw from the block."""
    return (
        block.remaining_micro > 0 and block.effective_at <= at < block.expires_at and block.known_revision <= revision
    )


def plan_draws(blocks: list[Block], amount_micro: int, at: int, revision: int) -> tuple[list[Draw], int]:
    """(draws, what no eligible block covers) for an amount; `blocks` in burn order. Changes nothing."""
    draws: list[Draw] = []
    for block in blocks:
        if not amount_micro:
            break
        if is_eligible(block, at, revision):
            taken = min(amount_micro, block.remaining_micro)
            draws.append(Draw(block, taken))
            amount_micro -= taken
    return draws, amount_micro


def expired_by(blocks: list[Block], at: int) -> list[Block]:
    """Blocks with credit left whose time is over at `at`, in the order in which it ran out."""
    over = [block for block in blocks if block.remaining_micro and block.expires_at <= at]
    return sorted(over, key=lambda block: (block.expires_at, block.id))


def next_expiry(blocks: Iterable[Block]) -> int:
    """When credit next runs out by itself; `NEVER_AT` where it never does. May lie in the past: then it is due."""
    return min((block.expires_at for block in blocks if block.remaining_micro), default=NEVER_AT)
