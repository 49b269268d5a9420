"""Where credit goes that is given back: from a void of usage, and from the end of a reservation. Pure.

It goes back to where it came from, as that is now: what was owed lowers the debt, what a block gave returns to it.
Where a pause has set the rest of a block aside, it joins that; where the rest has gone on as another block since, it
becomes a block of its own, which lives as long. What cannot go back expires, or becomes a block that does not.
"""

from collections.abc import Iterable
from uuid import UUID

import msgspec
from msgspec.structs import replace

from app.ledger.book import DEBT, EXPIRED, Account, Lines, Reservation, block_account, paused_account
from app.ledger.targets import Targets
from app.rules import burndown
from app.rules.burndown import Block
from app.rules.moments import NEVER_AT
from app.rules.standstill import Place, moved_block
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


class AsideChange(msgspec.Struct, frozen=True):
    """What comes to what is set aside of a block, or is taken from it."""

    block: Block
    amount_micro: int

    @property
    def subscription_id(self) -> UUID:
        """Whose pause has set it aside."""
        tie = None if self.block.terms is None else self.block.terms.tie
        if tie is None:
            message = f"block {self.block.id} is tied to no subscription, and no pause sets it aside"
            raise AssertionError(message)
        return tie.subscription_id

    @property
    def line(self) -> tuple[str, int]:
        """Its line in a transaction."""
        return paused_account(self.subscription_id), self.amount_micro


class BlockChanges(msgspec.Struct):
    """What has to be written of blocks, and of what is set aside of them."""

    changed: list[Block] = []
    made: list[Block] = []
    """Those for what cannot go back to where it came from."""
    aside: list[AsideChange] = []


class GivenBack(msgspec.Struct, frozen=True):
    """What giving back did to the working copy of the account; `lines` are what debt, blocks and others gain."""

    lines: Lines
    blocks: BlockChanges


class Giving(msgspec.Struct, frozen=True):
    """When and why something is given back. `revision` is what the entry's edge knew: it knows of what is made."""

    at: int
    revision: int
    cause: UUID
    """The event that is voided, which is done once, or the end of the reservation: no other has the same."""


def give_back(account: Account, drawn: Drawn, targets: Targets, giving: Giving) -> GivenBack:
    """Give back what was drawn."""
    # What came from a grant that was voided since was turned into debt then.
    owed_micro = drawn.debt_micro + sum(amount for block_id, amount in drawn.draws if block_id in targets.voided)
    paid_micro = min(owed_micro, account.debt_micro)
    account.debt_micro -= paid_micro
    back = GivenBack([(DEBT, paid_micro)], BlockChanges())
    for block_id, amount in drawn.draws:
        if block_id in targets.voided:
            continue
        block = targets.find_block(account, block_id)
        if block is None:
            back.lines.append((EXPIRED, amount))
        else:
            _return(back, block, amount, targets, giving)
    refund = _refund(owed_micro - paid_micro, giving)
    if refund is not None:
        back.lines.append((block_account(refund.id), refund.remaining_micro))
        back.blocks.made.append(refund)
    _bring_back(account, [*back.blocks.changed, *back.blocks.made])
    return back


def _return(back: GivenBack, block: Block, amount: int, targets: Targets, giving: Giving) -> None:
    """Bring what a block gave to where the rest of the block is."""
    place = targets.place_of(block)
    if place.is_aside:
        change = AsideChange(_as_moved(block, place, giving), amount)
        back.blocks.aside.append(change)
        back.lines.append(change.line)
    elif place.is_over(block, giving.at):
        back.lines.append((EXPIRED, amount))
    elif place.moved_at is not None:
        made = replace(_as_moved(block, place, giving), remaining_micro=amount, granted_micro=amount)
        back.blocks.made.append(made)
        back.lines.append((block_account(made.id), amount))
    else:
        block.remaining_micro += amount
        back.blocks.changed.append(block)
        back.lines.append((block_account(block.id), amount))


def _as_moved(block: Block, place: Place, giving: Giving) -> Block:
    """The block with the time that pauses have left it: another one, once it has gone on, beside what it has become."""
    if place.moved_at is None:
        return block
    return replace(
        moved_block(block, place.by_microseconds),
        id=returned_id(giving.cause, block.id),
        effective_at=place.moved_at,
        known_revision=giving.revision,
    )


def _refund(amount_micro: int, giving: Giving) -> Block | None:
    """A block for debt that was paid since: nobody remembers which of them paid it."""
    if not amount_micro:
        return None
    return Block(
        refund_id(giving.cause),
        amount_micro,
        REFUND_PRIORITY,
        paid=False,
        known_revision=giving.revision,
        effective_at=giving.at,
        expires_at=NEVER_AT,
        granted_at=giving.at,
        source=REFUND,
        granted_micro=amount_micro,
    )


def refund_id(cause: UUID) -> UUID:
    """The id of the block that a void or the end of a reservation makes, where it makes one."""
    return derived_id(REFUND.encode(), cause.hex.encode())


def returned_id(cause: UUID, block_id: UUID) -> UUID:
    """The id of the block for what comes back to a block that has gone on as another."""
    return derived_id(b"returned", cause.hex.encode(), block_id.hex.encode())


def end_of(reservation: Reservation) -> UUID:
    """What the end of a reservation is called as a cause: it ends once for each time that it was opened."""
    return derived_id(b"end", reservation.id.hex.encode(), b"%d" % reservation.opened_at)


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
