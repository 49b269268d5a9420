"""The credit of a subscription, as postings: granted, set aside and brought back, lost, taken over.

It is tied to the subscription's time: where that stands still, or waits for a payment, it waits outside of the balance.
"""

from uuid import UUID

from msgspec.structs import replace

from app.flusher import telling
from app.flusher.posting import Posting
from app.ledger.book import EXPIRED, PLAN, Account, Lines, Origin, TakenOverCredit, block_account, paused_account
from app.ledger.granting import CreditsGranted
from app.ledger.returning import AsideChange, BlockChanges
from app.rules.burndown import ROLLOVER, Block, Rollover, Terms, Tie
from app.rules.credits import from_micro
from app.rules.effects import (
    BlocksFrozen,
    BlocksMoved,
    Granted,
    RolloverFreed,
    RolloverHeld,
    RolloverLost,
)
from app.rules.moments import NEVER_AT, to_datetime
from app.rules.standstill import NO_STANDSTILL, moved_block
from app.subscriptions.book import Customer, Kept
from app.subscriptions.fitting import Held, fitting
from app.trail.outbox import EventType
from app.web.amounts import Credits
from app.wire.ids import derived_id, show


def aside_of(posting: Posting, account: Account) -> dict[UUID, Block]:
    """What waits outside of the account's balance, by the block that it was in; all of it where something is there."""
    customer = posting.customers.get(account.id)
    return {} if customer is None else {b.id: b for kept in customer.subscriptions for b in kept.set_aside}


def change_blocks(posting: Posting, account: Account, blocks: BlockChanges) -> None:
    """Write what an order or the end of a reservation does to blocks, and to what waits outside of the balance."""
    posting.changed_blocks |= {block.id: (account.environment_id, block) for block in blocks.changed}
    posting.made_blocks += [(account, block) for block in blocks.made]
    for change in blocks.aside:
        _change_aside(posting.customers[account.id].changing(change.subscription_id), change)


def _change_aside(kept: Kept, change: AsideChange) -> None:
    aside, block = {block.id: block for block in kept.set_aside}, change.block
    before_micro = aside[block.id].remaining_micro if block.id in aside else 0
    aside[block.id] = replace(block, remaining_micro=before_micro + change.amount_micro)
    kept.set_aside = [block for block in aside.values() if block.remaining_micro]


class TiedCredit:
    """The credit of one subscription, on the working copy of its customer's account."""

    def __init__(self, posting: Posting, account: Account, customer: Customer, kept: Kept, origin: Origin) -> None:
        self._posting = posting
        self._account = account
        self._customer = customer
        self._kept = kept
        self._origin = origin

    def grant(self, effect: Granted) -> None:
        """A block, once for ever: its id says of what it is. What does not fit is not granted."""
        template, amount_micro = effect.template, fitting(effect, self._held())
        rollover = None
        if template.rollover is not None and effect.rollover_until_at > effect.expires_at:
            rule = template.rollover
            rollover = Rollover(rule.share_millionths, rule.cap_micro, effect.rollover_until_at)
        block = Block(
            self._block_id(effect),
            amount_micro,
            template.priority,
            paid=False,
            known_revision=0,  # nobody decides anything at or after this moment who has not heard of it
            effective_at=effect.at,
            expires_at=effect.expires_at,
            granted_at=effect.at,
            source=PLAN,
            terms=Terms(self._origin.actor, rollover=rollover, tie=Tie(self._kept.id, template.id, effect.is_tied)),
            granted_micro=amount_micro,
        )
        self._add(block)
        lines: Lines = [(block_account(block.id), amount_micro), (f"issued:{PLAN}", -amount_micro)]
        self._transact("grant", lines if amount_micro else [], effect.at, self._why(effect, amount_micro))
        if amount_micro:
            self._tell_grant(block)

    def _block_id(self, effect: Granted) -> UUID:
        """One of each template and cycle, and of each change.

        What is given once is so for the customer, and so is what the free plan gives.
        A change may come at the very moment at which a cycle begins, or another change does.
        """
        template = effect.template.id.hex.encode()
        if effect.is_part:
            return derived_id(b"plan change", self._kept.id.hex.encode(), template, b"%d" % self._kept.changes)
        every = effect.template.every
        is_theirs = every is None or self._customer.makes_way(self._kept)
        owner = (self._customer.id if is_theirs else self._kept.id).hex.encode()
        # A later version may give it every year where it was every month: cycles that begin together are not the same.
        cycle = b"once" if every is None else b"%d %d %s" % (effect.key_at, every.count, every.unit.encode())
        return derived_id(b"plan grant", owner, template, cycle)

    def _held(self) -> Held:
        aside_micro = sum(block.remaining_micro for kept in self._customer.subscriptions for block in kept.set_aside)
        of_plans_micro = sum(block.remaining_micro for block in self._account.blocks if block.source == PLAN)
        return Held(of_plans_micro, self._account.total_micro + self._account.reserved_micro + aside_micro)

    def _why(self, effect: Granted, granted_micro: int) -> Origin:
        told = show("sub", self._kept.id)
        if granted_micro < effect.amount_micro:
            told += f" ({from_micro(granted_micro)} of {from_micro(effect.amount_micro)} fit)"
        if effect.withheld_micro:
            told += f" ({from_micro(effect.withheld_micro)} were given ahead)"
        return replace(self._origin, reason=told)

    def _tell_grant(self, block: Block) -> None:
        told = CreditsGranted(
            credit_block_id=show("blk", block.id),
            end_user_id=self._account.end_user_id,
            amount=Credits(block.granted_micro),
            source=block.source,
            priority=block.priority,
            expires_at=None if block.expires_at == NEVER_AT else to_datetime(block.expires_at),
            granted_at=to_datetime(block.granted_at),
        )
        of = block.id.hex.encode()
        telling.announce(self._posting, self._account, EventType.CREDITS_GRANTED, told, block.granted_at, of)

    def _add(self, block: Block) -> None:
        self._account.add_block(block)
        self._posting.made_blocks.append((self._account, block))

    def move(self, effect: BlocksFrozen | BlocksMoved | RolloverHeld | RolloverFreed | RolloverLost) -> None:
        """Set aside what stands still or waits for a payment, bring back what goes on, let go what nobody paid for."""
        match effect:
            case BlocksFrozen():
                self._set_aside(effect.at)
            case BlocksMoved():
                self._bring_back(effect.at, effect.by_microseconds)
            case RolloverHeld():
                self._put_aside(self._rolled_over(effect.at), effect.at)
            case RolloverFreed():
                self._free(effect.at)
            case RolloverLost():
                self._lose(effect.at, effect.since_at)

    def _set_aside(self, at: int) -> None:
        """Credit that is tied to the subscription's time waits outside of the balance."""
        tied = [block for block in self._account.blocks if block.remaining_micro and _is_tied(block, self._kept.id)]
        self._put_aside(tied, at)

    def _put_aside(self, blocks: list[Block], at: int) -> None:
        if not blocks:
            return
        for block in blocks:
            _change_aside(self._kept, AsideChange(block, block.remaining_micro))
        lines: Lines = [(block_account(block.id), -block.remaining_micro) for block in blocks]
        whole_micro = sum(block.remaining_micro for block in blocks)
        for block in blocks:
            block.remaining_micro = 0
            self._posting.changed_blocks[block.id] = (self._account.environment_id, block)
        self._transact("pause", [*lines, (paused_account(self._kept.id), whole_micro)], at, self._origin)

    def _bring_back(self, at: int, by_microseconds: int) -> None:
        """It comes back with the time that it had left, each block as a new one.

        So does what was given back to such blocks meanwhile, by a reservation that ended or by a void.
        """
        self._set_aside(at)
        resumed = [_later(aside, by_microseconds, at) for aside in self._take_aside()]
        for block in resumed:
            self._add(block)
        self._take_back(resumed, at)
        self._posting.recompose[self._account.id] = at

    def _take_back(self, blocks: list[Block], at: int) -> None:
        lines: Lines = [(block_account(block.id), block.remaining_micro) for block in blocks]
        if lines:
            whole_micro = sum(amount for _, amount in lines)
            self._transact("resume", [(paused_account(self._kept.id), -whole_micro), *lines], at, self._origin)

    def _take_aside(self) -> list[Block]:
        aside, self._kept.set_aside = self._kept.set_aside, []
        return aside

    def _rolled_over(self, since_at: int) -> list[Block]:
        """What is there of the subscription's credit that has rolled over since then."""
        tied = [block for block in self._account.blocks if block.source == ROLLOVER and _is_tied(block, self._kept.id)]
        return [block for block in tied if block.remaining_micro and block.effective_at >= since_at]

    def _free(self, at: int) -> None:
        """What waited for a payment comes back to its blocks, to expire when it would have."""
        aside = self._take_aside()
        self._expire_aside([block for block in aside if block.expires_at <= at], at)
        freed = {block.id: block for block in aside if block.expires_at > at}
        self._account.blocks = [block for block in self._account.blocks if block.id not in freed]  # they are empty
        for block in freed.values():
            self._account.add_block(block)
            self._posting.changed_blocks[block.id] = (self._account.environment_id, block)
        self._take_back([*freed.values()], at)

    def _lose(self, at: int, since_at: int) -> None:
        """What waited for a payment expires, and so does what has rolled over while it was waited for.

        So does what comes back to it later: some of it may have been used meanwhile.
        """
        self._put_aside(self._rolled_over(since_at), at)
        self._expire_aside(self._take_aside(), at)
        course = self._posting.courses.get(self._kept.id, NO_STANDSTILL)
        self._posting.courses[self._kept.id] = course.lost(since_at)

    def _expire_aside(self, blocks: list[Block], at: int) -> None:
        if not blocks:
            return
        whole_micro = sum(block.remaining_micro for block in blocks)
        lines: Lines = [(paused_account(self._kept.id), -whole_micro), (EXPIRED, whole_micro)]
        self._transact("expiry", lines, at, self._origin)
        for block in blocks:
            telling.tell_expiry(self._posting, self._account, replace(block, expires_at=at), block.remaining_micro)

    def _transact(self, kind: str, lines: Lines, at: int, origin: Origin) -> None:
        self._posting.transactions.append(self._account.post(kind, lines, at, origin))

    def end_rollover(self) -> None:
        """What is left of a subscription that has ended expires when it would have, and goes on into nothing.

        Nor does what comes back to its blocks later, by a void or by a reservation that ends; those that are spent are
        not at hand here.
        """
        self._posting.ended_subscriptions.append((self._account.environment_id, self._account.id, self._kept.id))
        for block in self._blocks_of(self._kept.id):
            self._reterm(block, is_off=True)

    def take_over(self, left_id: UUID, at: int) -> None:
        """What is left of the free plan's credit is of who came back, so it waits with a pause and goes on again.

        Of spent blocks those are of them that came in a cycle which goes on, and end with it: none that a pause has
        moved, though that may end with another cycle.
        """
        left = self._customer.find(left_id)
        cycles = [] if left is None else [cycle.present for cycle in left.rules.cycles]
        spans = sorted({(present.start_at, present.end_at) for present in cycles if present.end_at > at})
        whose = self._account.environment_id, self._account.id, left_id
        taken_over = [TakenOverCredit(*whose, *span, self._kept.id) for span in spans]
        self._posting.taken_over += taken_over
        for block in self._blocks_of(left_id):
            if block.remaining_micro or any(each.is_met_by(block) for each in taken_over):
                self._reterm(block, is_off=False)

    def _blocks_of(self, subscription_id: UUID) -> list[Block]:
        """Those at hand that are tied to a subscription."""
        ties = [
            (block, None if block.terms is None else block.terms.tie)
            for block in [*self._account.blocks, *self._posting.spent.values()]
        ]
        return [block for block, tie in ties if tie is not None and tie.subscription_id == subscription_id]

    def _reterm(self, block: Block, *, is_off: bool) -> None:
        """Tie a block to the subscription, and let what is left of it go on, or not."""
        terms = block.terms
        if terms is None or terms.tie is None:
            return
        rollover = None if terms.rollover is None else replace(terms.rollover, is_off=is_off)
        block.terms = replace(terms, rollover=rollover, tie=replace(terms.tie, subscription_id=self._kept.id))
        if block.terms != terms:
            self._posting.retermed_blocks.append((self._account.environment_id, block))


def _is_tied(block: Block, subscription_id: UUID) -> bool:
    """Whether a pause of the subscription moves the block."""
    tie = None if block.terms is None else block.terms.tie
    return tie is not None and tie.is_moved and tie.subscription_id == subscription_id


def _later(aside: Block, by_microseconds: int, at: int) -> Block:
    """A block that was set aside, as it goes on."""
    return replace(
        moved_block(aside, by_microseconds),
        id=derived_id(b"resumed", aside.id.hex.encode(), b"%d" % at),
        effective_at=at,
        known_revision=0,
        granted_micro=aside.remaining_micro,
    )
