"""What an order does to an account: pure. The flusher posts it, a preview shows it; both ask here.

A correction never changes what was posted. It gives back to the blocks that were drawn from, or takes from those that
are there, and is a transaction of its own.
"""

import msgspec

from app.ledger.book import DEBT, Account, Lines, block_account
from app.ledger.returning import AsideChange, BlockChanges, Drawn, Giving, give_back, merged
from app.ledger.targets import Targets
from app.orders.outcomes import Refused
from app.rules import burndown
from app.rules.burndown import Block
from app.rules.credits import MAX_BALANCE_MICRO
from app.wire.codes import Code
from app.wire.orders import BillOverage, Correction, Debit, VoidGrant, VoidUsage

VOIDED = "voided"
BILLED = "billed"
TAKEN = "issued:adjustment"
"""An adjustment that takes credit undoes the issue of as much."""


class Carried(msgspec.Struct, frozen=True):
    """An order that was carried out on the working copy of the account; its lines sum to zero."""

    kind: str
    lines: Lines
    blocks: BlockChanges
    withdrawn: list[Block] = []
    """Scheduled blocks that will never be granted."""


DETAILS = {
    Code.INSUFFICIENT_CREDITS: "The customer has less than is to be taken; with allow_debt the rest becomes debt.",
    Code.NOTHING_OWED: "The customer owes nothing that could be billed.",
    Code.NOT_FOUND: "The customer has nothing of this id that could be voided.",
    Code.ALREADY_VOIDED: "It was voided before; a void is done once.",
    Code.GRANT_EXPIRED: "The grant has expired: nothing of it is left to take back.",
    Code.BALANCE_OUT_OF_RANGE: "The balance would leave the range that can be kept exactly.",
    Code.GRANT_MOVED: "After a pause the grant has gone on as another block, with what was left of it: void that one.",
    Code.GRANT_SPENT: "Some of the grant is spent; with allow_debt that becomes debt.",
}
"""What a client is told of a refusal, by its code."""


def carry_out(account: Account, order: Correction, targets: Targets, at: int, revision: int) -> Carried | Refused:
    """Carry an order out at `at`, by what was known at `revision`. A refused one leaves the account as it was."""
    match order:
        case Debit():
            return _debit(account, order, at, revision)
        case BillOverage():
            return _bill_overage(account)
        case VoidGrant():
            return _void_grant(account, order, targets, at)
        case VoidUsage():
            return _void_usage(account, order, targets, at, revision)


def _debit(account: Account, order: Debit, at: int, revision: int) -> Carried | Refused:
    draws, short_micro = burndown.plan_draws(account.blocks, order.amount_micro, at, revision)
    if short_micro and not order.allow_debt:
        return Refused(Code.INSUFFICIENT_CREDITS, order.amount_micro - short_micro)
    if _leaves_range(account, -order.amount_micro):
        return Refused(Code.BALANCE_OUT_OF_RANGE)
    lines: Lines = [(block_account(draw.block.id), -draw.amount_micro) for draw in draws]
    for draw in draws:
        draw.block.remaining_micro -= draw.amount_micro
    if short_micro:
        account.debt_micro += short_micro
        lines.append((DEBT, -short_micro))
    return Carried("adjustment", [*lines, (TAKEN, order.amount_micro)], BlockChanges([draw.block for draw in draws]))


def _bill_overage(account: Account) -> Carried | Refused:
    """Known credit has paid what it can by now: what is left is for an invoice."""
    owed_micro, account.debt_micro = account.debt_micro, 0
    if not owed_micro:
        return Refused(Code.NOTHING_OWED)
    return Carried("overage_billed", [(DEBT, owed_micro), (BILLED, -owed_micro)], BlockChanges())


def _void_grant(account: Account, order: VoidGrant, targets: Targets, at: int) -> Carried | Refused:
    block = targets.find_block(account, order.block_id)
    if block is None:
        return Refused(Code.NOT_FOUND)
    if (refused := _refusal_of_grant(account, order, block, targets, at)) is not None:
        return refused
    targets.voided.add(block.id)
    if block.is_scheduled:
        block.is_scheduled, block.remaining_micro, block.granted_micro = False, 0, 0
        return Carried("void", [], BlockChanges([block]), withdrawn=[block])
    spent_micro = _spent(block, targets)
    aside = [AsideChange(block, -targets.set_aside[block.id].remaining_micro)] if block.id in targets.set_aside else []
    lines: Lines = [
        (VOIDED, block.granted_micro),
        (block_account(block.id), -block.remaining_micro),
        (DEBT, -spent_micro),
    ]
    block.remaining_micro = 0
    account.debt_micro += spent_micro
    lines += [change.line for change in aside]
    return Carried("void", merged(lines), BlockChanges([block], aside=aside))


def _spent(block: Block, targets: Targets) -> int:
    """What of a grant is neither left in its block nor set aside."""
    aside = targets.set_aside.get(block.id)
    return block.granted_micro - block.remaining_micro - (0 if aside is None else aside.remaining_micro)


def _refusal_of_grant(account: Account, order: VoidGrant, block: Block, targets: Targets, at: int) -> Refused | None:
    """Why a grant cannot be voided; None where it can."""
    if block.id in targets.voided:
        return Refused(Code.ALREADY_VOIDED)
    if block.is_scheduled:
        return None
    place, is_here = targets.place_of(block), block.remaining_micro > 0 or block.id in targets.set_aside
    if place.is_over(block, at):
        return Refused(Code.GRANT_EXPIRED)
    if place.moved_at is not None and not is_here:
        return Refused(Code.GRANT_MOVED)
    spent_micro = _spent(block, targets)
    if spent_micro and not order.allow_debt:
        return Refused(Code.GRANT_SPENT, spent_micro)
    return Refused(Code.BALANCE_OUT_OF_RANGE) if _leaves_range(account, -block.granted_micro) else None


def _void_usage(account: Account, order: VoidUsage, targets: Targets, at: int, revision: int) -> Carried | Refused:
    event = targets.events.get(order.event_id)
    if event is None:
        return Refused(Code.NOT_FOUND)
    if event.id in targets.voided:
        return Refused(Code.ALREADY_VOIDED)
    if _leaves_range(account, event.cost_micro):
        return Refused(Code.BALANCE_OUT_OF_RANGE)
    drawn = Drawn(event.parsed_draws(), event.debt_micro)
    back = give_back(account, drawn, targets, Giving(at, revision, event.id))
    targets.voided.add(event.id)
    lines: Lines = [(f"consumed:{event.feature_key}", -event.cost_micro), *back.lines]
    return Carried("void", merged(lines), back.blocks)


def _leaves_range(account: Account, change_micro: int) -> bool:
    """Whether the balance could no longer be kept exactly by all who keep it."""
    most_micro = account.total_micro + account.reserved_micro  # what is reserved may come back
    return max(most_micro + change_micro, -(account.total_micro + change_micro)) > MAX_BALANCE_MICRO
