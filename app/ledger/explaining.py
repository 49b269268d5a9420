"""Where an amount would come from: the live blocks of a customer in the words of `rules.burndown.explain`."""

from datetime import datetime

import msgspec

from app.ledger.reading import Figures, LiveBlock
from app.rules import burndown
from app.rules.burndown import Block, Criterion, Outcome
from app.rules.moments import NEVER_AT, to_at

_KNOWN = 0
"""Whoever asks now knows every block that the ledger has, so no revision stands between them."""


class ExplainedBlock(msgspec.Struct, frozen=True):
    """A live block, and what would become of it."""

    block: LiveBlock
    owed_micro: int
    drawn_micro: int
    outcome: Outcome
    behind_by: Criterion | None


class ExplainedAmount(msgspec.Struct, frozen=True):
    """Where an amount would come from, in burn order, and what no block covers."""

    steps: list[ExplainedBlock]
    shortfall_micro: int


def explain(
    figures: Figures, live: list[LiveBlock], pending_micro: int, amount_micro: int, now: datetime
) -> ExplainedAmount:
    """What usage of `amount_micro` would draw if it were recorded now.

    Open debt and what is pending at the edge are posted before it, so they are taken from the blocks first.
    """
    at = max(to_at(now), to_at(figures.posted_at))  # as the edge dates its next entry
    owed_micro = max(0, figures.debt_micro + pending_micro)
    by_id = {block.id: block for block in live}
    blocks = burndown.sort_blocks(_block(block) for block in live)
    explained = burndown.explain(blocks, amount_micro, at, _KNOWN, owed_micro=owed_micro)
    steps = [
        ExplainedBlock(by_id[step.block.id], step.owed_micro, step.drawn_micro, step.outcome, step.behind_by)
        for step in explained.steps
    ]
    return ExplainedAmount(steps, explained.shortfall_micro)


def _block(block: LiveBlock) -> Block:
    return Block(
        block.id,
        block.remaining_micro,
        block.priority,
        block.paid,
        _KNOWN,
        to_at(block.effective_at),
        NEVER_AT if block.expires_at is None else to_at(block.expires_at),
        to_at(block.granted_at),
        is_scheduled=block.is_scheduled,
    )
