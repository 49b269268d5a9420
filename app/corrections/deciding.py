"""What an order does to an account: pure. The flusher posts it, a preview shows it; both ask here.

A correction never changes what was posted. It gives back to the blocks that were drawn from, or takes from those that
are there, and is a transaction of its own.
"""

from collections.abc import Iterable
from uuid import UUID

import msgspec

from app.ledger.book import DEBT, EXPIRED, Account, Lines, Origin, PostedEvent, block_account
from app.rules import burndown
from app.rules.burndown import Block
from app.rules.moments import NEVER_AT
from app.wire.codes import Code
from app.wire.ids import derived_id
from app.wire.orders import Debit, Order, VoidGrant, VoidUsage

VOIDED = "voided"
TAKEN = "issued:adjustment"
"""An adjustment that takes credit undoes the issue of as much."""
REFUND = "refund"
REFUND_PRIORITY = 100


class Granted(msgspec.Struct, frozen=True):
    """A block that an order names or gives back to, and how much it was granted."""

    block: Block
    granted_micro: int


class Targets(msgspec.Struct):
    """What the orders of a batch speak of, as far as the ledger has it."""

    events: dict[UUID, PostedEvent] = {}
    blocks: dict[UUID, Granted] = {}
    voided: set[UUID] = set()
    """Events and blocks that were voided before; those of this batch are added."""
    known: set[UUID] = set()
    """Orders that were carried out or refused before; those of this batch are added."""


class Carried(msgspec.Struct, frozen=True):
    """An order that was carried out on the working copy of the account; its lines sum to zero."""

    kind: str
    lines: Lines
    changed: list[Block]
    refund: Block | None = None
    """A block that was made for what cannot go back to where it came from."""


class Refused(msgspec.Struct, frozen=True):
    """An order that changes nothing. `amount_micro` is what stands in its way, where that is an amount."""

    code: Code
    amount_micro: int = 0


DETAILS = {
    Code.INSUFFICIENT_CREDITS: "The customer has less than is to be taken; with allow_debt the rest becomes debt.",
    Code.NOT_FOUND: "The customer has nothing of this id that could be voided.",
    Code.ALREADY_VOIDED: "It was voided before; a void is done once.",
    Code.GRANT_EXPIRED: "The grant has expired: nothing of it is left to take back.",
    Code.GRANT_SPENT: "Some of the grant is spent; with allow_debt that becomes debt.",
}
"""What a client is told of a refusal, by its code."""


class Outcome(msgspec.Struct, frozen=True):
    """What became of an order. `refused` None = carried out, by transaction `seq`."""

    environment_id: UUID
    account_id: UUID
    order: Order
    refused: Refused | None
    seq: int | None

    @property
    def amount_micro(self) -> int:
        """What stood in its way, where it was refused for an amount."""
        return 0 if self.refused is None else self.refused.amount_micro


def origin_of(order: Order) -> Origin:
    """Who wants it, and why."""
    return Origin(order.actor, order.reason, order.idempotency_key)


def kind_of(order: Order) -> str:
    """The order's name in the ledger, which is its tag in the stream."""
    return str(type(order).__struct_config__.tag)


def target_of(order: Order) -> UUID | None:
    """The event or block that an order voids."""
    match order:
        case VoidUsage():
            return order.event_id
        case VoidGrant():
            return order.block_id
        case Debit():
            return None


def carry_out(account: Account, order: Order, targets: Targets, at: int, revision: int) -> Carried | Refused:
    """Carry an order out at `at`, by what was known at `revision`. A refused one leaves the account as it was."""
    match order:
        case Debit():
            return _debit(account, order, at, revision)
        case VoidGrant():
            return _void_grant(account, order, targets, at)
        case VoidUsage():
            return _void_usage(account, order, targets, at, revision)


def _debit(account: Account, order: Debit, at: int, revision: int) -> Carried | Refused:
    draws, short_micro = burndown.plan_draws(account.blocks, order.amount_micro, at, revision)
    if short_micro and not order.allow_debt:
        covered = order.amount_micro - short_micro
        return Refused(Code.INSUFFICIENT_CREDITS, covered)
    lines: Lines = [(block_account(draw.block.id), -draw.amount_micro) for draw in draws]
    for draw in draws:
        draw.block.remaining_micro -= draw.amount_micro
    if short_micro:
        account.debt_micro += short_micro
        lines.append((DEBT, -short_micro))
    return Carried("adjustment", [*lines, (TAKEN, order.amount_micro)], [draw.block for draw in draws])


def _void_grant(account: Account, order: VoidGrant, targets: Targets, at: int) -> Carried | Refused:
    granted = targets.blocks.get(order.block_id)
    if granted is None:
        return Refused(Code.NOT_FOUND)
    if order.block_id in targets.voided:
        return Refused(Code.ALREADY_VOIDED)
    block = granted.block
    if block.expires_at <= at:
        return Refused(Code.GRANT_EXPIRED)
    spent_micro = granted.granted_micro - block.remaining_micro
    if spent_micro and not order.allow_debt:
        return Refused(Code.GRANT_SPENT, spent_micro)
    lines: Lines = [(VOIDED, granted.granted_micro)]
    if block.remaining_micro:
        lines.append((block_account(block.id), -block.remaining_micro))
        block.remaining_micro = 0
    if spent_micro:
        lines.append((DEBT, -spent_micro))
        account.debt_micro += spent_micro
    targets.voided.add(block.id)
    return Carried("void", lines, [block])


def _void_usage(account: Account, order: VoidUsage, targets: Targets, at: int, revision: int) -> Carried | Refused:
    event = targets.events.get(order.event_id)
    if event is None:
        return Refused(Code.NOT_FOUND)
    if event.id in targets.voided:
        return Refused(Code.ALREADY_VOIDED)
    draws = event.parsed_draws()
    lines: Lines = [(f"consumed:{event.feature_key}", -event.cost_micro)] if event.cost_micro else []
    # What came from a grant that was voided since was turned into debt then.
    owed_micro = event.debt_micro + sum(amount for block_id, amount in draws if block_id in targets.voided)
    if paid_micro := min(owed_micro, account.debt_micro):
        account.debt_micro -= paid_micro
        lines.append((DEBT, paid_micro))
    kept = [(targets.blocks[block_id].block, amount) for block_id, amount in draws if block_id not in targets.voided]
    changed = [block for block, _ in kept if block.expires_at > at]
    for block, amount in kept:
        if block.expires_at > at:
            block.remaining_micro += amount
        lines.append((block_account(block.id) if block.expires_at > at else EXPIRED, amount))
    refund = _refund(order, owed_micro - paid_micro, at, revision)
    if refund is not None:
        lines.append((block_account(refund.id), refund.remaining_micro))
        account.blocks.append(refund)
    _bring_back(account, changed)
    targets.voided.add(event.id)
    return Carried("void", _merged(lines), changed, refund)


def _refund(order: VoidUsage, amount_micro: int, at: int, revision: int) -> Block | None:
    """A block for debt that was paid since: nobody remembers which of them paid it."""
    if not amount_micro:
        return None
    block_id = derived_id(REFUND.encode(), order.order_id.hex.encode())
    return Block(block_id, amount_micro, REFUND_PRIORITY, False, revision, at, NEVER_AT, at)  # noqa: FBT003 - not paid


def _bring_back(account: Account, blocks: Iterable[Block]) -> None:
    """Blocks that were spent and have credit again are drawn from again, in their place."""
    missing = [block for block in blocks if all(block is not known for known in account.blocks)]
    account.blocks = burndown.sort_blocks([*account.blocks, *missing])


def _merged(lines: Lines) -> Lines:
    """One line for each ledger account."""
    amounts: dict[str, int] = {}
    for name, amount in lines:
        amounts[name] = amounts.get(name, 0) + amount
    return list(amounts.items())
