"""What becomes of subscriptions, as postings: credit, what a pause sets aside, bills, history, and word of all of it.

What happens is decided by app/subscriptions/book.py; here it is carried out on the account, effect by effect.
"""

from uuid import UUID

import msgspec
from msgspec.structs import replace

from app.flusher import telling
from app.flusher.grouping import UsageGroup
from app.flusher.posting import FLUSHER, Posting, TakenOverCredit, TurnedPeriod
from app.ledger.book import DEBT, EXPIRED, PLAN, Account, Lines, Origin, block_account, paused_account
from app.ledger.granting import CreditsGranted
from app.ledger.returning import AsideChange, BlockChanges
from app.orders.outcomes import Refused, origin_of
from app.rules.burndown import ROLLOVER, Block, Rollover, Terms, Tie
from app.rules.credits import from_micro
from app.rules.effects import (
    Announced,
    Billed,
    BlocksFrozen,
    BlocksMoved,
    Effect,
    Granted,
    Notice,
    PeriodTurned,
    RolloverFreed,
    RolloverHeld,
    RolloverLost,
    StateChanged,
    TakenOver,
    TermsChanged,
)
from app.rules.lifecycle import TERMINAL, State
from app.rules.moments import NEVER_AT, hour_of, to_datetime
from app.rules.standstill import NO_STANDSTILL, moved_block
from app.rules.subscriptions import Subscription
from app.rules.terms import BillingMode
from app.subscriptions.book import Customer, Happened, Kept
from app.subscriptions.fitting import Held, fitting
from app.subscriptions.history import Change
from app.subscriptions.schemas import ClosedPeriod, show_told
from app.trail.outbox import Announcement, EventType
from app.web.amounts import Credits
from app.wire.ids import derived_id, show
from app.wire.orders import SubscriptionOrder


def post_next(posting: Posting, group: UsageGroup) -> None:
    """Post the step of the customer's subscriptions that is due first."""
    customer = posting.customers[group.account.id]
    _post(posting, group, customer, customer.advance())


def post_order(posting: Posting, group: UsageGroup, order: SubscriptionOrder, at: int) -> Refused | None:
    """Carry an order out; why not, where it changes nothing."""
    customer = posting.customers[group.account.id]
    happened = customer.carry_out(order, posting.named, at)
    if isinstance(happened, Refused):
        return happened
    _post(posting, group, customer, happened)
    group.next_boundary_at = group.account.next_boundary()
    return None


def _post(posting: Posting, group: UsageGroup, customer: Customer, happened: list[Happened]) -> None:
    group.close(posting)
    for each in happened:
        _Poster(posting, group.account, customer, each).post()
        if any(isinstance(effect, BlocksFrozen | BlocksMoved) for effect in each.effects):
            group.look_away()
    group.account.agenda_at = customer.next_at()


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


class _Poster:
    """Carries out the effects of one thing that happened."""

    def __init__(self, posting: Posting, account: Account, customer: Customer, happened: Happened) -> None:
        self._posting = posting
        self._account = account
        self._customer = customer
        self._happened = happened
        self._kept = happened.kept
        by = happened.by
        self._origin = FLUSHER if by is None else origin_of(by)
        self._closed: ClosedPeriod | None = None
        """The period that ends with it."""
        self._closed_at: int | None = None
        """Where it ends, as long as nobody sums up what was used in it."""

    def post(self) -> None:
        """Post all of it."""
        if self._happened.action is not None:
            self._remember(self._happened.action)
        for effect in self._happened.effects:
            self._carry_out(effect)
        if self._happened.before is None:
            self._posting.recompose[self._account.id] = self._happened.at
        if self._closed_at is not None:
            since = self._kept.counted_from
            self._sum_usage(self._closed_at if since is None else since, self._closed_at)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Granted():
                self._grant(effect)
            case TakenOver():
                self._take_over(effect.left_id, effect.at)
            case Billed():
                self._bill(effect)
            case BlocksFrozen() | BlocksMoved() | RolloverHeld() | RolloverFreed() | RolloverLost():
                self._move_aside(effect)
            case PeriodTurned():
                self._turn(effect)
            case StateChanged():
                self._change_state(effect)
            case TermsChanged():
                self._posting.recompose[self._account.id] = effect.at
            case Announced():
                self._announce(effect)

    def _move_aside(self, effect: BlocksFrozen | BlocksMoved | RolloverHeld | RolloverFreed | RolloverLost) -> None:
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

    # ---- credit

    def _grant(self, effect: Granted) -> None:
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
        self._leave(EventType.CREDITS_GRANTED, told, block.granted_at, block.id.hex.encode())

    def _add(self, block: Block) -> None:
        self._account.add_block(block)
        self._posting.made_blocks.append((self._account, block))

    def _bill(self, effect: Billed) -> None:
        """What the closed period leaves unpaid is for an invoice: no later credit pays it again.

        Debt is the customer's, so it is billed with the periods of what the customer is on, not of add-ons.
        """
        if not self._kept.is_base:
            return
        owed_micro, self._account.debt_micro = self._account.debt_micro, 0
        if owed_micro:
            self._transact("overage_billed", [(DEBT, owed_micro), ("billed", -owed_micro)], effect.at, self._origin)
        self._close(effect.period.end_at, owed_micro)

    def _close(self, end_at: int, billed_micro: int) -> None:
        """The period that ends; what was used in it is summed up once the batch is written."""
        since = self._kept.counted_from
        begun_at = self._kept.rules.period.start_at if since is None else since
        self._closed = ClosedPeriod(to_datetime(begun_at), to_datetime(end_at), Credits(billed_micro))
        self._closed_at = end_at

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

    # ---- what is told and remembered

    def _turn(self, effect: PeriodTurned) -> None:
        """Units are counted anew, and so is what is used; a prepaid period that ends is closed without a bill."""
        begins_at, since = effect.period.start_at, self._kept.counted_from
        self._posting.recompose[self._account.id] = effect.at
        if self._kept.is_base:
            self._turn_usage(begins_at, since)
        self._kept.counted_from = begins_at

    def _turn_usage(self, begins_at: int, since: int | None) -> None:
        before = self._happened.before
        if before is not None and _is_closed(before):  # so what was used since then is of the period that begins
            if hour_of(begins_at) != hour_of(before.period.end_at):
                self._kept.used_before = []
            return
        if since is not None and self._closed is None:
            self._close(begins_at, 0)
        self._sum_usage(begins_at if since is None else since, begins_at)

    def _sum_usage(self, since_at: int, at: int) -> None:
        used = len(self._posting.used)
        turned = TurnedPeriod(self._account, self._kept, since_at, at, used, self._closed)
        self._posting.turned_periods.append(turned)
        self._closed_at = None

    def _change_state(self, effect: StateChanged) -> None:
        self._posting.recompose[self._account.id] = effect.at
        self._note_course(effect)
        if effect.after in TERMINAL:
            self._end_rollover()

    def _note_course(self, effect: StateChanged) -> None:
        """For what comes back in the same batch."""
        course, before = self._posting.courses.get(self._kept.id, NO_STANDSTILL), self._happened.before
        if effect.after is State.PAUSED:
            course = course.stopped(effect.at)
        elif effect.before is State.PAUSED and before is not None and before.paused_at is not None:
            course = course.resumed(before.paused_at, effect.at)
        self._posting.courses[self._kept.id] = course

    def _end_rollover(self) -> None:
        """What is left of a subscription that has ended expires when it would have, and goes on into nothing.

        Nor does what comes back to its blocks later, by a void or by a reservation that ends; those that are spent are
        not at hand here.
        """
        self._posting.ended_subscriptions.append((self._account.environment_id, self._account.id, self._kept.id))
        for block in self._blocks_of(self._kept.id):
            self._reterm(block, is_off=True)

    def _take_over(self, left_id: UUID, at: int) -> None:
        """What is left of the free plan's credit is of who came back, so it waits with a pause and goes on again.

        Of spent blocks those are of them that end with a cycle which goes on: none that a pause has moved.
        """
        left = self._customer.find(left_id)
        cycles = [] if left is None else [cycle.present for cycle in left.rules.cycles]
        ends = {present.end_at for present in cycles if present.end_at > at}
        whose = self._account.environment_id, self._account.id
        before = [each for each in self._posting.taken_over.pop(left_id, []) if each.expires_at in ends]
        taken_over = [*before, *(TakenOverCredit(*whose, left_id, end_at) for end_at in ends)]
        self._posting.taken_over[self._kept.id] = taken_over
        for block in self._blocks_of(left_id):
            if block.remaining_micro or block.expires_at in ends:
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

    def _remember(self, action: str) -> None:
        kept, before = self._kept, self._happened.before
        kept.changes += 1
        by = self._happened.by
        if by is not None and by.subscription_id != kept.id:  # it makes way, and what was asked for is another one's
            by = None
        self._posting.history.append(
            Change(
                self._account.environment_id,
                kept.id,
                kept.changes,
                to_datetime(self._happened.at),
                action,
                None if before is None else before.state.value,
                kept.rules.state.value,
                None if before is None else before.terms.version_id,
                kept.rules.terms.version_id,
                self._origin.actor,
                self._origin.reason,
                None if by is None else by.payment_reference,
                self._origin.idempotency_key,
                None if by is None else by.variant_id,
            )
        )

    def _announce(self, effect: Announced) -> None:
        """Word of what is to come closes nothing, also where it comes in the step that closed a period."""
        closed = None if effect.notice in {Notice.TRIAL_ENDING, Notice.RENEWAL_DUE} else self._closed
        told = show_told(self._account.end_user_id, self._kept, closed)
        what = EventType(f"subscription.{effect.notice.value}")
        self._leave(what, told, effect.at, self._kept.id.hex.encode(), b"%d" % self._kept.changes)

    def _leave(self, event_type: EventType, told: msgspec.Struct, at: int, *of: bytes) -> None:
        announced_id = derived_id(b"announced", event_type.encode(), *of, b"%d" % at)
        self._posting.announcements.append(
            Announcement(self._account.environment_id, announced_id, event_type, self._account.end_user_id, told, at)
        )


def _is_closed(subscription: Subscription) -> bool:
    """Whether what it was billed for was closed when it fell overdue."""
    return subscription.state is State.OVERDUE and subscription.terms.billing_mode is BillingMode.POSTPAID


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
