"""What the entries of a batch speak of beside their accounts, as far as the ledger has it."""

from uuid import UUID

import msgspec

from app.ledger.book import Account, PostedEvent, Reservation
from app.rules.burndown import Block


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

    def find_block(self, account: Account, block_id: UUID) -> Block | None:
        """The account's working copy first: what this batch has posted so far is in it."""
        return next((block for block in account.blocks if block.id == block_id), None) or self.blocks.get(block_id)
