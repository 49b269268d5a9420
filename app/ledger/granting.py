"""Granting credit, and leaving word of it."""

from datetime import datetime
from uuid import UUID

import msgspec

from app.io.postgres import Transaction
from app.ledger import service
from app.ledger.schemas import TotalBody
from app.ledger.service import GrantedBlock, GrantRequest
from app.trail import audit, outbox
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


async def grant(
    tx: Transaction, account_id: UUID, end_user_id: str, request: GrantRequest, now: datetime
) -> GrantedBlock:
    """Post a grant and its block (see `service.grant` for what it raises), and leave word of it in the outbox."""
    granted = await service.grant(tx, account_id, request, now)
    say_changed(tx, end_user_id, request, granted)
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


def say_changed(tx: Transaction, end_user_id: str, request: GrantRequest, granted: GrantedBlock) -> None:
    """Say in the audit log whose credit changes, and how it stood before."""
    added_micro = 0 if granted.transaction_id is None else request.amount_micro
    audit.changed(tx, "customer", end_user_id, before=TotalBody(Credits(granted.total_micro - added_micro)))
