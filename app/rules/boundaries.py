"""When an account changes by itself, and what changes first.

Nothing is decided at or after such a moment before what is due was posted (docs/credit-protocol.md, "Boundaries").
"""

from collections.abc import Iterable

from app.rules.burndown import Block
from app.rules.moments import NEVER_AT
from app.rules.periods import Counting


def boundary_of(block: Block) -> int:
    """When the block next changes by itself: it is granted, or what is left of it expires. `NEVER_AT` = not at all."""
    if block.is_scheduled:
        return block.effective_at
    return block.expires_at if block.remaining_micro else NEVER_AT


def next_boundary(blocks: Iterable[Block]) -> int:
    """When the first of them changes by itself. May lie in the past: then it is due."""
    return min(map(boundary_of, blocks), default=NEVER_AT)


def boundary_of_account(blocks_at: int, counting: Counting | None, agenda_at: int, composed_until: int) -> int:
    """The first of: a block changes, the period turns, a subscription changes, the snapshot no longer holds."""
    turns_at = NEVER_AT if counting is None else counting.turns_at
    return min(blocks_at, turns_at, agenda_at, composed_until)


def next_due(blocks: Iterable[Block], at: int, revision: int) -> Block | None:
    """The block whose change has been due the longest at `at`, as far as it was known at `revision`.

    What expires at a moment does so before anything is granted at it: a period ends where the next begins.
    """
    due = [b for b in blocks if boundary_of(b) <= at and (b.known_revision <= revision or not b.is_scheduled)]
    return min(due, key=lambda block: (boundary_of(block), block.is_scheduled, block.id), default=None)
