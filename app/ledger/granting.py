"""Granting credit, and leaving word of it."""

from datetime import datetime
from uuid import UUID

import msgspec

from app.errors import invalid_value
from app.io.postgres import Transaction
from app.ledger import service
from app.ledger.service import GrantedBlock, GrantRequest
from app.trail import outbox
from app.trail.outbox import EventType
from app.web.amounts import Credits
from app.wire.ids import show


class CreditsGranted(msgspec.Struct, frozen=True):
    """What a webhook says of a grant."""

    credit_block_id: str
    end_user_id: str
    amount: Credits
    source: str
    priority: int
    expires_at: datetime | None
    granted_at: datetime


class CreditsAdjusted(msgspec.Struct, frozen=True):
    """What a webhook says of an adjustment: `amount` was added, to the block that is named."""

    transaction_id: str
    end_user_id: str
    amount: Credits
    reason: str
    credit_block_id: str | None
    adjusted_at: datetime


class Adjustment(msgspec.Struct, frozen=True):
    """A correction of what a customer has: `amount_micro` more. Priority and expiry are those of the block it makes."""

    amount_micro: int
    reason: str
    priority: int
    expires_at: datetime | None
    actor: str
    idempotency_key: str | None


class Adjusted(msgspec.Struct, frozen=True):
    """The transaction of an adjustment, and the block that it made."""

    transaction_id: UUID
    block_id: UUID | None


async def grant(
    tx: Transaction, account_id: UUID, end_user_id: str, request: GrantRequest, now: datetime
) -> GrantedBlock:
    """Post a grant and its block (see `service.grant` for what it raises), and leave word of it in the outbox."""
    granted = await service.grant(tx, account_id, request, now)
    told = CreditsGranted(
        credit_block_id=show("blk", granted.block_id),
        end_user_id=end_user_id,
        amount=Credits(request.amount_micro),
        source=request.source,
        priority=request.priority,
        expires_at=request.expires_at,
        granted_at=now,
    )
    await outbox.leave(tx, EventType.CREDITS_GRANTED, end_user_id, told, now)
    return granted


async def adjust(
    tx: Transaction, account_id: UUID, end_user_id: str, adjustment: Adjustment, now: datetime
) -> Adjusted:
    """Correct what a customer has, and leave word of it in the outbox.

    Raises ServiceError(INVALID_VALUE) where credit is to be taken: whatever takes is an entry of the stream.
    See `service.grant` for what else it raises.
    """
    if adjustment.amount_micro <= 0:
        raise invalid_value("amount", "must be greater than zero: this route does not take credit yet, it only adds")
    request = GrantRequest(
        amount_micro=adjustment.amount_micro,
        source="adjustment",
        priority=adjustment.priority,
        effective_at=now,
        expires_at=adjustment.expires_at,
        paid=False,
        actor=adjustment.actor,
        reason=adjustment.reason,
        idempotency_key=adjustment.idempotency_key,
        kind="adjustment",
    )
    granted = await service.grant(tx, account_id, request, now)
    told = CreditsAdjusted(
        transaction_id=show("txn", granted.transaction_id),
        end_user_id=end_user_id,
        amount=Credits(adjustment.amount_micro),
        reason=adjustment.reason,
        credit_block_id=show("blk", granted.block_id),
        adjusted_at=now,
    )
    await outbox.leave(tx, EventType.CREDITS_ADJUSTED, end_user_id, told, now)
    return Adjusted(granted.transaction_id, granted.block_id)
