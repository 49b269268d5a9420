"""Where credit goes that is given back: from a void of usage, and from the end of a reservation. Pure.

It goes back to where it came from, as that is now: what was owed lowers the debt, what a block gave returns to it. What
cannot go back there expires, or becomes a block of its own.
"""

from collections.abc import Iterable
from uuid import UUID

import msgspec

from app.ledger.book import DEBT, EXPIRED, Account, Lines, block_account
from app.ledger.targets import Targets
from app.rules import burndown
from app.rules.burndown import Block
from app.rules.moments import NEVER_AT
from app.wire.ids import derived_id

REFUND = "refund"
REFUND_PRIORITY = 100


class Drawn(msgspec.Struct, frozen=True):
    """Credit and where it came from: (block id, micro-credits) in the order in which blocks were drawn, then debt."""

    draws: list[tuple[UUID, int]]
    debt_micro: int = 0

    def split(self, first_micro: int) -> tuple["Drawn", "Drawn"]:
        """The first so many micro-credits of it, and the rest: blocks in their order, what no block covered last."""
        first: list[tuple[UUID, int]] = []
        rest: list[tuple[UUID, int]] = []
        for block_id, amount in self.draws:
            taken = min(amount, first_micro)
            first_micro -= taken
            first += [(block_id, taken)] if taken else []
            rest += [(block_id, amount - taken)] if amount > taken else []
        debt_micro = min(first_micro, self.debt_micro)
        return Drawn(first, debt_micro), Drawn(rest, self.debt_micro - debt_micro)

    def show(self) -> str:
        """The draws as rows keep them."""
        return "[" + ",".join([f'["{block_id}",{amount}]' for block_id, amount in self.draws]) + "]"

    def joined(self, more: "Drawn") -> "Drawn":
        """Both together, each block once."""
        amounts: dict[UUID, int] = {}
        for block_id, amount in [*self.draws, *more.draws]:
            amounts[block_id] = amounts.get(block_id, 0) + amount
        return Drawn([*amounts.items()], self.debt_micro + more.debt_micro)


class GivenBack(msgspec.Struct, frozen=True):
    """What giving back did to the working copy of the account; `lines` are what debt, blocks and `expired` gain."""

    lines: Lines
    changed: list[Block]
    refund: Block | None
    """A block that was made for what cannot go back to where it came from."""


def give_back(
    account: Account, drawn: Drawn, targets: Targets, at: int, *, revision: int, refund_id: UUID
) -> GivenBack:
    """Give back at `at` what was drawn; `revision` is what the entry's edge knew, and so it knows of the refund."""
    # What came from a grant that was voided since was turned into debt then.
    owed_micro = drawn.debt_micro + sum(amount for block_id, amount in drawn.draws if block_id in targets.voided)
    paid_micro = min(owed_micro, account.debt_micro)
    account.debt_micro -= paid_micro
    lines: Lines = [(DEBT, paid_micro)]
    changed: list[Block] = []
    for block_id, amount in drawn.draws:
        if block_id in targets.voided:
            continue
        block = targets.find_block(account, block_id)
        if block is None or block.expires_at <= at:
            lines.append((EXPIRED, amount))
        else:
            block.remaining_micro += amount
            changed.append(block)
            lines.append((block_account(block.id), amount))
    refund = _refund(refund_id, owed_micro - paid_micro, at, revision)
    if refund is not None:
        lines.append((block_account(refund.id), refund.remaining_micro))
        account.blocks.append(refund)
    _bring_back(account, changed)
    return GivenBack(lines, changed, refund)


def _refund(block_id: UUID, amount_micro: int, at: int, revision: int) -> Block | None:
    """A block for debt that was paid since: nobody remembers which of them paid it."""
    if not amount_micro:
        return None
    return Block(
        block_id,
        amount_micro,
        REFUND_PRIORITY,
        paid=False,
        known_revision=revision,
        effective_at=at,
        expires_at=NEVER_AT,
        granted_at=at,
        source=REFUND,
        granted_micro=amount_micro,
    )


def refund_id(cause: UUID) -> UUID:
    """The id of the block that an order or a reservation makes, where it makes one."""
    return derived_id(REFUND.encode(), cause.hex.encode())


def _bring_back(account: Account, blocks: Iterable[Block]) -> None:
    """Blocks that were spent and have credit again are drawn from again, in their place."""
    missing = [block for block in blocks if all(block is not known for known in account.blocks)]
    account.blocks = burndown.sort_blocks([*account.blocks, *missing])


def merged(lines: Lines) -> Lines:
    """One line for each ledger account, none for nothing."""
    amounts: dict[str, int] = {}
    for name, amount in lines:
        amounts[name] = amounts.get(name, 0) + amount
    return [(name, amount) for name, amount in amounts.items() if amount]
