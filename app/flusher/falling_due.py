"""What happens to an account by itself, posted when an entry shows that its time has come; and the paying of debt."""

from app.flusher import subscribing, telling
from app.flusher.counting import turn_period
from app.flusher.grouping import UsageGroup
from app.flusher.posting import FLUSHER, Posting
from app.ledger.book import DEBT, EXPIRED, Account, Lines, Origin, block_account
from app.rules import burndown
from app.rules.boundaries import boundary_of, next_due
from app.rules.burndown import ROLLOVER, Block, Draw, Rollover, Terms, Tie, granted_under_cap, rolled_over
from app.rules.credits import from_micro
from app.rules.moments import NEVER_AT
from app.wire.ids import derived_id

UNBOUNDED = 2**63 - 1


def post_due(posting: Posting, group: UsageGroup, at: int, revision: int, most: int = UNBOUNDED) -> bool:
    """Post what has fallen due by `at`, in its order, each dated with the moment at which it did; whether that is all.

    Once the batch holds `most` of what fell due, no second moment is begun: the rest stays due for whoever comes next.
    One always is, for an account that has not moved takes no other tick (app/wire/scripts/tick.lua).
    Nothing is posted where a period is over, which is turned, nor where the snapshot no longer holds. Credit is looked
    at once all of a moment is posted: what expires where as much is granted was never missing. What a moment brings
    pays open debt at its end, and other known credit does before it, as an entry just before it would have let it: what
    is billed, what fits under a cap, and when a debt is paid do not depend on who came by meanwhile.
    """
    account, moment_at = group.account, 0
    turn_period(account, at)
    while (due := _next_due(account, at, revision)) is not None:
        due_at, block = due
        if due_at != moment_at:
            _end_moment(posting, group, moment_at, revision)
            if moment_at and posting.due >= most:
                due = _next_due(account, at, revision)  # what was due may have paid a debt just now
                break
            moment_at = due_at
            posting.spent |= {block.id: block for block in account.take_spent_out()}
            settle(posting, group, due_at - 1, revision)
        _post_next(posting, group, block, revision)
    _end_moment(posting, group, moment_at, revision)
    if due is None and account.composed_until <= at:
        account.composed_until = NEVER_AT
        posting.recompose[account.id] = at
    group.next_boundary_at = account.next_boundary()
    return due is None


def _end_moment(posting: Posting, group: UsageGroup, at: int, revision: int) -> None:
    """All that falls due `at` is posted (0 = nothing yet): it pays open debt, and is looked at."""
    if at and group.account.debt_micro:
        pay_debt(posting, group, at, revision)
    group.look(posting, at)


def _post_next(posting: Posting, group: UsageGroup, block: Block | None, revision: int) -> None:
    """Post what is due of a block, or of the customer's subscriptions."""
    posted = len(posting.transactions)
    group.close(posting)
    if block is None:
        subscribing.post_next(posting, group)
    elif block.is_scheduled:
        _grant(posting, group.account, block, revision)
    else:
        _expire(posting, group.account, block)
    posting.due += 1 + len(posting.transactions) - posted


def _next_due(account: Account, at: int, revision: int) -> tuple[int, Block | None] | None:
    """(moment, block) of what is due first by `at`; no block = the customer's subscriptions. None = nothing is due."""
    block = next_due(account.blocks, at, revision)
    if account.agenda_at <= at and _comes_first(account.agenda_at, block):
        return account.agenda_at, None
    return None if block is None else (boundary_of(block), block)


def _comes_first(agenda_at: int, block: Block | None) -> bool:
    """Whether what is due of a subscription precedes what is due of a block.

    At one moment what expires does so first, since a period ends where the next begins, and what was granted for that
    moment comes last.
    """
    if block is None:
        return True
    due_at = boundary_of(block)
    return agenda_at < due_at or (agenda_at == due_at and block.is_scheduled)


def _grant(posting: Posting, account: Account, block: Block, revision: int) -> None:
    """A scheduled block becomes effective: as much of it as fits under its cap is granted.

    What core granted after `revision` does not count to the cap: whether it is there yet depends on how far we lag.
    """
    terms = block.terms or Terms(FLUSHER.actor)
    asked_micro = block.granted_micro
    known = [b for b in account.blocks if not b.is_scheduled and b.known_revision <= revision]
    held_micro = sum(b.remaining_micro for b in known if b.source == block.source)
    granted_micro = granted_under_cap(asked_micro, held_micro, terms.cap_micro)
    block.is_scheduled, block.remaining_micro, block.granted_micro = False, granted_micro, granted_micro
    lines: Lines = [(block_account(block.id), granted_micro), (f"issued:{block.source}", -granted_micro)]
    reason = terms.reason
    if granted_micro < asked_micro:
        left_out = f"{from_micro(granted_micro)} of {from_micro(asked_micro)} fit under the cap"
        reason = left_out if reason is None else f"{reason} ({left_out})"
    origin = Origin(terms.actor, reason, terms.idempotency_key)
    posting.transactions.append(account.post("grant", lines if granted_micro else [], block.effective_at, origin))
    posting.settled_blocks[block.id] = (account.environment_id, granted_micro)
    posting.changed_blocks[block.id] = (account.environment_id, block)


def _expire(posting: Posting, account: Account, block: Block) -> None:
    """What is left of a block goes on into another one, as far as its terms say so; the rest expires."""
    terms = block.terms
    rollover = None if terms is None or _ends(posting, account, terms.tie, block.expires_at) else terms.rollover
    if rollover is not None and not rollover.is_off:
        _roll_over(posting, account, block, rollover)
    posting.changed_blocks[block.id] = (account.environment_id, block)
    if not block.remaining_micro:
        return  # it has just paid a debt, or goes on whole
    amount, block.remaining_micro = block.remaining_micro, 0
    lines: Lines = [(block_account(block.id), -amount), (EXPIRED, amount)]
    posting.transactions.append(account.post("expiry", lines, block.expires_at, FLUSHER))
    telling.tell_expiry(posting, account, block, amount)


def _ends(posting: Posting, account: Account, tie: Tie | None, at: int) -> bool:
    """Whether the subscription ends just then that the block is of, so that there is nothing to go on into."""
    customer = posting.customers.get(account.id)
    return tie is not None and customer is not None and customer.ends(tie.subscription_id, at)


def _roll_over(posting: Posting, account: Account, block: Block, rollover: Rollover) -> None:
    cap_micro = _left_of_cap(account, block, rollover.cap_micro)
    moved_micro = rolled_over(block.remaining_micro, rollover.share_millionths, cap_micro)
    if not moved_micro:
        return
    at = block.expires_at
    into = Block(
        derived_id(ROLLOVER.encode(), block.id.hex.encode()),
        moved_micro,
        block.priority,
        block.paid,
        block.known_revision,
        effective_at=at,
        expires_at=rollover.expires_at,
        granted_at=block.granted_at,  # so it is spent before what is granted for the same time
        source=ROLLOVER,
        terms=None if block.terms is None or block.terms.tie is None else Terms(FLUSHER.actor, tie=block.terms.tie),
        granted_micro=moved_micro,
    )
    block.remaining_micro -= moved_micro
    account.add_block(into)
    posting.made_blocks.append((account, into))
    lines: Lines = [(block_account(block.id), -moved_micro), (block_account(into.id), moved_micro)]
    posting.transactions.append(account.post("rollover", lines, at, FLUSHER))


def _left_of_cap(account: Account, block: Block, cap_micro: int | None) -> int | None:
    """What of the cap is left: it is of a cycle, and a change in its middle makes several blocks that end at once."""
    tie = None if block.terms is None else block.terms.tie
    if cap_micro is None or tie is None:
        return cap_micro
    same = (b for b in account.blocks if b.source == ROLLOVER and b.effective_at == block.expires_at)
    return max(0, cap_micro - sum(b.granted_micro for b in same if b.terms is not None and b.terms.tie == tie))


def settle(posting: Posting, group: UsageGroup, at: int, revision: int) -> None:
    """What precedes an entry that is posted: known credit pays open debt."""
    if group.account.debt_micro:
        pay_debt(posting, group, at, revision)
        group.look(posting, at)


def pay_debt(posting: Posting, group: UsageGroup, at: int, revision: int) -> None:
    """Pay open debt from credit that is there `at` and that the entry's edge knew of."""
    account = group.account
    draws, unpaid = burndown.plan_draws(account.blocks, account.debt_micro, at, revision)
    if not draws:
        return
    group.close(posting)
    paid = account.debt_micro - unpaid
    account.debt_micro = unpaid
    lines = [*take(posting, account, draws), (DEBT, paid)]
    posting.transactions.append(account.post("debt_payment", lines, at, FLUSHER))


def take(posting: Posting, account: Account, draws: list[Draw]) -> Lines:
    """Draw from blocks; the lines of it."""
    for draw in draws:
        draw.block.remaining_micro -= draw.amount_micro
        posting.changed_blocks[draw.block.id] = (account.environment_id, draw.block)
    return [(block_account(draw.block.id), -draw.amount_micro) for draw in draws]
