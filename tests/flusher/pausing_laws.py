"""What must hold of credit that comes back to blocks around pauses, and while a payment is waited for.

Nothing of it asks where the product looks for the rest of a block: a block has so much time of its subscription's, and
whatever comes back to it has as much. But what has rolled over since a payment is waited for, as the entries say, has
its time only where that comes.
"""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple
from uuid import UUID

from app.ledger.book import EXPIRED, Transaction, block_account, paused_account
from app.ledger.returning import REFUND, Drawn
from app.rules.burndown import Block, Tie
from app.rules.effects import BlocksFrozen, BlocksMoved, RolloverHeld, RolloverLost, TakenOver
from app.rules.moments import NEVER_AT
from app.wire.orders import VoidGrant, VoidUsage
from tests.flusher.subscribing_programs import Life


class Return(NamedTuple):
    """A transaction that gives back, and what of the credit that it gives back came from blocks."""

    transaction: Transaction
    drawn: Drawn


class Waited(NamedTuple):
    """A time in which a subscription waited for a payment that never came."""

    since_at: int
    until_at: int


class OwnTime:
    """The time of each subscription, without that in which it stood still; and what it has lost."""

    def __init__(self, life: Life) -> None:
        self._stood_still: dict[UUID, list[list[int]]] = {}
        self._waited: dict[UUID, Waited] = {}
        self._rolled_at = rolled_over(life)
        for happened, _ in life.rows.seen:
            spans = self._stood_still.setdefault(happened.kept.id, [])
            for effect in happened.effects:
                if isinstance(effect, BlocksFrozen):
                    spans.append([effect.at, NEVER_AT])
                elif isinstance(effect, BlocksMoved):
                    spans[-1][1] = effect.at
                elif isinstance(effect, RolloverLost):
                    self._waited[happened.kept.id] = Waited(effect.since_at, effect.at)
                elif isinstance(effect, TakenOver):
                    spans += self._stood_still.get(effect.left_id, [])

    def lost_at(self, block: Block) -> int:
        """When a block was lost since nobody paid for the period into which it had rolled over."""
        tie = None if block.terms is None else block.terms.tie
        waited = None if tie is None else self._waited.get(tie.subscription_id)
        is_lost = waited is not None and self._rolled_at.get(block_account(block.id), -1) >= waited.since_at
        return waited.until_at if waited is not None and is_lost else NEVER_AT

    def of(self, tie: Tie, at: int) -> int:
        """How late it is for the subscription."""
        spans = self._stood_still.get(tie.subscription_id, []) if tie.is_moved else []
        return at - sum(max(0, min(at, until_at) - since_at) for since_at, until_at in spans)

    def end_of(self, block: Block) -> int | None:
        """When a block expires, in the time of what it is tied to; None = it is tied to nothing."""
        tie = None if block.terms is None else block.terms.tie
        return None if tie is None else self.of(tie, block.effective_at) + block.expires_at - block.effective_at

    def is_over(self, block: Block, at: int) -> bool:
        """Whether the block has had its time, or is lost."""
        if self.lost_at(block) <= at:
            return True
        tie, end_at = None if block.terms is None else block.terms.tie, self.end_of(block)
        return block.expires_at <= at if tie is None or end_at is None else end_at <= self.of(tie, at)


def rolled_over(life: Life) -> dict[str, int]:
    """When each block came about that rolled over out of another one, by its ledger account."""
    return {t.lines[1][0]: t.posted_at for t in life.rows.transactions if t.kind == "rollover"}


def what_comes_back_lives_its_time(life: Life) -> None:
    """24, 31: around pauses too. It expires at once where its block has had its time, or is lost; else it waits with
    what is set aside, or is in a block that ends when that would have.

    What comes back in the very moment of a loss may be on either side of it, and is left out.
    """  # noqa: D205 - one sentence more
    own, blocks = OwnTime(life), life.rows.blocks
    for transaction, drawn in _returns(life):
        posted = Counter[str]()
        for name, amount in transaction.lines:
            posted[name] += amount
        voided = _voided_before(life, transaction.seq)
        back = [(blocks[block_id], amount) for block_id, amount in drawn.draws if block_id not in voided]
        if any(own.lost_at(block) == transaction.posted_at for block, _ in back):
            continue
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


def only_what_is_not_paid_for_waits_or_is_lost(life: Life) -> None:
    """What is set aside without a pause has rolled over since its subscription waits for a payment.

    With that it is in its own block again; without it nothing of it is left, whatever comes back later.
    """
    own, rolled_at = OwnTime(life), rolled_over(life)
    still, held = set[tuple[str, int]](), dict[str, list[int]]()
    for happened, _ in life.rows.seen:
        name = paused_account(happened.kept.id)
        for effect in happened.effects:
            if isinstance(effect, BlocksFrozen | BlocksMoved):
                still.add((name, effect.at))
            elif isinstance(effect, RolloverHeld):
                held.setdefault(name, []).append(effect.at)
    for transaction in life.rows.transactions:
        names, at = [name for name, _ in transaction.lines], transaction.posted_at
        [waits] = [name for name in names if name.startswith("paused:")] or [""]
        if transaction.kind not in {"pause", "resume"} or (waits, at) in still:
            continue
        since_at = max(each for each in held[waits] if each <= at)
        assert all(rolled_at.get(name, -1) >= since_at for name in names if name != waits), transaction
    for block in life.rows.blocks.values():
        assert own.lost_at(block) == NEVER_AT or not block.remaining_micro, block


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
