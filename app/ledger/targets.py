"""What the entries of a batch speak of beside their accounts, as far as the ledger has it."""

from uuid import UUID

import msgspec

from app.ledger.book import Account, PostedEvent, Reservation
from app.rules.burndown import Block
from app.rules.standstill import NO_STANDSTILL, Course, Place, place_of


class Targets(msgspec.Struct):
    """What orders and reservations of a batch name; what the batch makes or ends is noted here as it is posted."""

    events: dict[UUID, PostedEvent] = {}
    blocks: dict[UUID, Block] = {}
    """Those that are in no account's working copy: nothing is left of them."""
    voided: set[UUID] = set()
    """Events and blocks that were voided before; those of this batch are added."""
    known: set[UUID] = set()
    """Orders that were carried out or refused before; those of this batch are added."""
    reservations: dict[UUID, Reservation] = {}
    """Open and ended ones, each as it was opened last; those of this batch are added, and ended."""
    courses: dict[UUID, Course] = {}
    """Of subscriptions to whose time blocks are tied, by id; what the batch does to them is added."""
    set_aside: dict[UUID, Block] = {}
    """What was taken out of the balance of the account at hand and waits, by the block that it was in."""

    def find_block(self, account: Account, block_id: UUID) -> Block | None:
        """The account's working copy first: what this batch has posted so far is in it."""
        return next((block for block in account.blocks if block.id == block_id), None) or self.blocks.get(block_id)

    def place_of(self, block: Block) -> Place:
        """Where the block's credit is now; nothing moves one that is tied to no subscription's time."""
        tie = None if block.terms is None else block.terms.tie
        if tie is None or not tie.is_moved:
            return place_of(block, NO_STANDSTILL)
        return place_of(block, self.courses.get(tie.subscription_id, NO_STANDSTILL))
