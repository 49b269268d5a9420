"""What happens to an account by itself, posted when an entry shows that its time has come; and the paying of debt."""

from app.flusher.counting import turn_period
from app.flusher.grouping import UsageGroup
from app.flusher.posting import FLUSHER, Posting
from app.ledger.book import DEBT, EXPIRED, Account, Lines, Origin, block_account
from app.rules import burndown
from app.rules.boundaries import boundary_of, next_due
from app.rules.burndown import Block, Draw, Rollover, Terms, granted_under_cap, rolled_over
from app.rules.credits import from_micro
from app.wire.ids import derived_id

ROLLOVER = "rollover"


def post_due(posting: Posting, group: UsageGroup, at: int, revision: int) -> None:
    """Post what has fallen due by `at`, in its order, each dated with the moment at which it did.

    A period that is over is turned; nothing is posted for it. Credit is looked at once all of a moment is posted: what
    expires where as much is granted was never missing.
    """
    account, moment_at = group.account, 0
    turn_period(account, at)
    while (block := next_due(account.blocks, at, revision)) is not None:
        if boundary_of(block) != moment_at:
            group.look(posting, moment_at)
            moment_at = boundary_of(block)
        group.close(posting)
        if block.is_scheduled:
            _grant(posting, account, block, revision)
        else:
            pay_debt(posting, group, block.expires_at - 1, revision)
            _expire(posting, account, block)
    group.look(posting, moment_at)
    group.next_boundary_at = account.next_boundary()


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
    if block.terms is not None and block.terms.rollover is not None:
        _roll_over(posting, account, block, block.terms.rollover)
    posting.changed_blocks[block.id] = (account.environment_id, block)
    if not block.remaining_micro:
        return  # it has just paid a debt, or goes on whole
    amount, block.remaining_micro = block.remaining_micro, 0
    lines: Lines = [(block_account(block.id), -amount), (EXPIRED, amount)]
    posting.transactions.append(account.post("expiry", lines, block.expires_at, FLUSHER))


def _roll_over(posting: Posting, account: Account, block: Block, rollover: Rollover) -> None:
    moved_micro = rolled_over(block.remaining_micro, rollover.share_millionths, rollover.cap_micro)
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
        granted_at=at,
        source=ROLLOVER,
        granted_micro=moved_micro,
    )
    block.remaining_micro -= moved_micro
    account.blocks = burndown.sort_blocks([*account.blocks, into])
    posting.made_blocks.append((account, into))
    lines: Lines = [(block_account(block.id), -moved_micro), (block_account(into.id), moved_micro)]
    posting.transactions.append(account.post("rollover", lines, at, FLUSHER))


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
