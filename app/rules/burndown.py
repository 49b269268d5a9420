"""Which block is spent first.

The order is total and published: priority ascending, expires_at ascending with never last, free before paid,
granted_at, id. It does not depend on the moment, so a sorted list stays sorted; what a moment decides is who is
eligible.
"""

from collections.abc import Iterable
from uuid import UUID

import msgspec

from app.rules.credits import MICRO


class Rollover(msgspec.Struct, frozen=True):
    """What of a block goes on into another one when it expires: a share of what is left, at most the cap."""

    share_millionths: int
    cap_micro: int | None
    expires_at: int
    """Of the block that it becomes."""


class Terms(msgspec.Struct, frozen=True, omit_defaults=True):
    """What happens to a block by itself, beside its expiry, and who said so."""

    actor: str
    reason: str | None = None
    idempotency_key: str | None = None
    cap_micro: int | None = None
    """What all blocks of its source may hold together once it is granted; what does not fit is not granted."""
    rollover: Rollover | None = None


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
    source: str = ""
    is_scheduled: bool = False
    """To be granted when it becomes effective; until then it is not in the total, and nothing is drawn from it."""
    terms: Terms | None = None


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
        block.remaining_micro > 0
        and block.effective_at <= at < block.expires_at
        and block.known_revision <= revision
        and not block.is_scheduled
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


def granted_under_cap(amount_micro: int, held_micro: int, cap_micro: int | None) -> int:
    """What of a grant fits: as much as lifts `held_micro` to the cap, and nothing where that much is held already.

    `held_micro` is what remains of all blocks that count to the cap; a cap of None = there is none.
    """
    if cap_micro is None:
        return amount_micro
    return max(0, min(amount_micro, cap_micro - held_micro))


def rolled_over(unused_micro: int, share_millionths: int, cap_micro: int | None) -> int:
    """What of unused credit goes on into the next period: a share of it, at most the cap; the rest of it expires.

    Rounded down to a whole micro-credit: rounding never makes credit, so all periods together give no more than was
    granted. `share_millionths` is at most a million (all of it); a cap of None = there is none.
    """
    share_micro = unused_micro * share_millionths // MICRO
    return share_micro if cap_micro is None else min(share_micro, cap_micro)
