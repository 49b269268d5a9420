"""Which block is spent first, what of a grant fits under a cap, and what is left over for the next period.

The order is total and published: priority ascending, expires_at ascending with never last, free before paid,
granted_at, id. It does not depend on the moment, so a sorted list stays sorted; what a moment decides is who is
eligible.
"""

from collections.abc import Iterable
from enum import StrEnum
from itertools import pairwise
from uuid import UUID

import msgspec

from app.rules.credits import MICRO

ROLLOVER = "rollover"
"""The source of credit that has rolled over."""


class Rollover(msgspec.Struct, frozen=True, omit_defaults=True):
    """What of a block goes on into another one when it expires: a share of what is left, at most the cap."""

    share_millionths: int
    cap_micro: int | None
    expires_at: int
    """Of the block that it becomes."""
    is_off: bool = False
    """Its subscription has ended, so nothing goes on; unless the customer comes back, where it was the free plan."""


class Tie(msgspec.Struct, frozen=True):
    """What ties a block to a subscription: which grant it is of, and whether a pause of its time moves it."""

    subscription_id: UUID
    template_id: UUID
    is_moved: bool


class Terms(msgspec.Struct, frozen=True, omit_defaults=True):
    """What happens to a block by itself, beside its expiry, and who said so."""

    actor: str
    reason: str | None = None
    idempotency_key: str | None = None
    cap_micro: int | None = None
    """What all blocks of its source may hold together once it is granted; what does not fit is not granted."""
    rollover: Rollover | None = None
    tie: Tie | None = None


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
    granted_micro: int = 0
    """Of a scheduled one: what was asked for."""


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


class Criterion(StrEnum):
    """The criteria of the published order, in its order: the same as the elements of `burn_order`."""

    PRIORITY = "priority"
    EXPIRY = "expires_at"
    FREE_BEFORE_PAID = "free_before_paid"
    GRANTED_AT = "granted_at"
    ID = "credit_block_id"


class Outcome(StrEnum):
    """What an amount takes from a block, or why nothing. Of several reasons the first in this list is given."""

    EMPTY = "empty"
    """Nothing is left of it."""
    EXPIRED = "expired"
    """Its time is over, at that moment."""
    NOT_YET_EFFECTIVE = "not_yet_effective"
    """Its time has not come, at that moment."""
    NOT_YET_KNOWN = "not_yet_known"
    """The edge that decided had not heard of it."""
    SPOKEN_FOR = "spoken_for"
    """What is owed before the amount takes all that is left of it."""
    DRAWN_WHOLE = "drawn_whole"
    """The amount takes all that is left of it."""
    DRAWN_IN_PART = "drawn_in_part"
    """The amount ends within it."""
    NOT_NEEDED = "not_needed"
    """The blocks before it cover the amount."""


class Step(msgspec.Struct, frozen=True):
    """One block of an explanation, in burn order."""

    block: Block
    owed_micro: int
    """What is taken from it before the amount."""
    drawn_micro: int
    """What the amount takes from it."""
    outcome: Outcome
    behind_by: Criterion | None
    """The criterion that puts it behind the block before it; None for the first."""


class Explanation(msgspec.Struct, frozen=True):
    """Where an amount would come from. `shortfall_micro` is the part of it that no block covers."""

    steps: list[Step]
    shortfall_micro: int


def explain(blocks: list[Block], amount_micro: int, at: int, revision: int, *, owed_micro: int = 0) -> Explanation:
    """Where an amount would come from if it were spent `at`, block by block; `blocks` in burn order. Changes nothing.

    `owed_micro` is what has to be paid from the same blocks before: open debt, and usage that is not posted yet. Both
    are drawn as `plan_draws` draws, so this says of every posting what that posting does.
    """
    owed = _taken(plan_draws(blocks, owed_micro, at, revision)[0])
    both, uncovered_micro = plan_draws(blocks, owed_micro + amount_micro, at, revision)
    taken = _taken(both)
    places = [None, *(behind_by(before, block) for before, block in pairwise(blocks))]
    steps: list[Step] = []
    for block, place in zip(blocks, places, strict=False):  # no block at all has no place either
        owed_here = owed.get(block.id, 0)
        drawn_here = taken.get(block.id, 0) - owed_here
        left_micro = block.remaining_micro - owed_here
        outcome = _why_not(block, at, revision) or _outcome(left_micro, drawn_here)
        steps.append(Step(block, owed_here, drawn_here, outcome, place))
    return Explanation(steps, min(amount_micro, uncovered_micro))


def behind_by(before: Block, block: Block) -> Criterion:
    """The criterion that puts `block` behind `before`: the first in which they differ."""
    pairs = zip(Criterion, burn_order(before), burn_order(block), strict=True)
    return next((criterion for criterion, earlier, later in pairs if earlier != later), Criterion.ID)


def _taken(draws: list[Draw]) -> dict[UUID, int]:
    return {draw.block.id: draw.amount_micro for draw in draws}


def _why_not(block: Block, at: int, revision: int) -> Outcome | None:
    """Why nothing may be drawn from the block, in words for what `is_eligible` says; None where it may."""
    if is_eligible(block, at, revision):
        return None
    if not block.remaining_micro:
        return Outcome.EMPTY
    if block.expires_at <= at:
        return Outcome.EXPIRED
    is_early = block.is_scheduled or at < block.effective_at
    return Outcome.NOT_YET_EFFECTIVE if is_early else Outcome.NOT_YET_KNOWN


def _outcome(left_micro: int, drawn_micro: int) -> Outcome:
    if not left_micro:
        return Outcome.SPOKEN_FOR
    if not drawn_micro:
        return Outcome.NOT_NEEDED
    return Outcome.DRAWN_WHOLE if drawn_micro == left_micro else Outcome.DRAWN_IN_PART


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
