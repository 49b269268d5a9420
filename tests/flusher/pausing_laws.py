"""What must hold of credit that comes back to blocks around pauses, by the time in which nothing stood still.

Nothing of it asks where the product looks for the rest of a block: a block has so much time of its subscription's, and
whatever comes back to it has as much.
"""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple
from uuid import UUID

from app.ledger.book import EXPIRED, Transaction, block_account
from app.ledger.returning import REFUND, Drawn
from app.rules.burndown import Block, Tie
from app.rules.effects import BlocksFrozen, BlocksMoved, TakenOver
from app.rules.moments import NEVER_AT
from app.wire.orders import VoidGrant, VoidUsage
from tests.flusher.subscribing_programs import Life


class Return(NamedTuple):
    """A transaction that gives back, and what of the credit that it gives back came from blocks."""

    transaction: Transaction
    drawn: Drawn


class OwnTime:
    """The time of each subscription, without that in which it stood still."""

    def __init__(self, life: Life) -> None:
        self._stood_still: dict[UUID, list[list[int]]] = {}
        for happened, _ in life.rows.seen:
            spans = self._stood_still.setdefault(happened.kept.id, [])
            for effect in happened.effects:
                if isinstance(effect, BlocksFrozen):
                    spans.append([effect.at, NEVER_AT])
                elif isinstance(effect, BlocksMoved):
                    spans[-1][1] = effect.at
                elif isinstance(effect, TakenOver):
                    spans += self._stood_still.get(effect.left_id, [])

    def of(self, tie: Tie, at: int) -> int:
        """How late it is for the subscription."""
        spans = self._stood_still.get(tie.subscription_id, []) if tie.is_moved else []
        return at - sum(max(0, min(at, until_at) - since_at) for since_at, until_at in spans)

    def end_of(self, block: Block) -> int | None:
        """When a block expires, in the time of what it is tied to; None = it is tied to nothing."""
        tie = None if block.terms is None else block.terms.tie
        return None if tie is None else self.of(tie, block.effective_at) + block.expires_at - block.effective_at

    def is_over(self, block: Block, at: int) -> bool:
        """Whether the block has had its time."""
        tie, end_at = None if block.terms is None else block.terms.tie, self.end_of(block)
        return block.expires_at <= at if tie is None or end_at is None else end_at <= self.of(tie, at)


def what_comes_back_lives_its_time(life: Life) -> None:
    """24, 31: around pauses too. It expires at once where its block has had its time; else it waits with what is set
    aside, or is in a block that ends when that would have.
    """  # noqa: D205 - one sentence more
    own, blocks = OwnTime(life), life.rows.blocks
    for transaction, drawn in _returns(life):
        posted = Counter[str]()
        for name, amount in transaction.lines:
            posted[name] += amount
        voided = _voided_before(life, transaction.seq)
        back = [(blocks[block_id], amount) for block_id, amount in drawn.draws if block_id not in voided]
        over = sum(amount for block, amount in back if own.is_over(block, transaction.posted_at))
        assert posted[EXPIRED] == over, (transaction, over)
        due = Counter[int | None]()
        for block, amount in back:
            if not own.is_over(block, transaction.posted_at):
                due[own.end_of(block)] += amount
        given = Counter[int | None]()
        for block in blocks.values():
            is_refund = block.source == REFUND and block.id not in {block_id for block_id, _ in drawn.draws}
            if not is_refund and (amount := posted[block_account(block.id)]) > 0:
                given[own.end_of(block)] += amount
        aside = sum(amount for name, amount in posted.items() if name.startswith("paused:"))
        assert given <= due, (transaction, given, due)
        assert due.total() - given.total() == aside, (transaction, given, due)


def _returns(life: Life) -> Iterator[Return]:
    """Voids of usage, and ends of reservations."""
    by_seq = {transaction.seq: transaction for transaction in life.rows.transactions}
    for outcome in life.rows.outcomes.values():
        if isinstance(outcome.order, VoidUsage) and outcome.seq is not None:
            event = life.rows.events[outcome.order.event_id]
            yield Return(by_seq[outcome.seq], Drawn(event.parsed_draws(), event.debt_micro))
    for reservation in life.rows.reservations.values():
        if reservation.ended_seq is not None:
            whole = Drawn(reservation.parsed_draws(), reservation.debt_micro)
            yield Return(by_seq[reservation.ended_seq], whole.split(reservation.used_micro)[1])


def _voided_before(life: Life, seq: int) -> set[UUID]:
    done = [each for each in life.rows.outcomes.values() if each.seq is not None and each.seq < seq]
    return {each.order.block_id for each in done if isinstance(each.order, VoidGrant)}
