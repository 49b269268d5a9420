"""Adjustments that add: a grant of their own kind, with word of it left."""

from datetime import datetime
from uuid import UUID

import msgspec

from app.io.postgres import Transaction
from app.ledger import granting, service
from app.ledger.service import GrantRequest
from app.trail import outbox
from app.trail.outbox import EventType
from app.web.amounts import Credits
from app.wire.ids import show

SOURCE = "adjustment"


class CreditsAdjusted(msgspec.Struct, frozen=True):
    """What a webhook says of an adjustment: `amount` was added to the block that is named, or taken."""

    transaction_id: str
    end_user_id: str
    amount: Credits
    reason: str
    credit_block_id: str | None
    adjusted_at: datetime


async def add(
    tx: Transaction, account_id: UUID, end_user_id: str, request: GrantRequest, now: datetime
) -> CreditsAdjusted:
    """Add credit as a correction (see `service.grant` for what it raises); the word of it that the outbox has."""
    granted = await service.grant(tx, account_id, request, now)
    granting.say_changed(tx, end_user_id, request, granted)
    if granted.transaction_id is None:
        message = "an adjustment is posted at once, never scheduled"
        raise RuntimeError(message)
    told = CreditsAdjusted(
        transaction_id=show("txn", granted.transaction_id),
        end_user_id=end_user_id,
        amount=Credits(request.amount_micro),
        reason=request.reason or "",
        credit_block_id=show("blk", granted.block_id),
        adjusted_at=now,
    )
    await outbox.leave(tx, EventType.CREDITS_ADJUSTED, end_user_id, told, now)
    return told
