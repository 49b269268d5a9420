"""Bodies of the credit, ledger and usage routes."""

from datetime import datetime
from enum import StrEnum
from typing import Literal

import msgspec

from app.ledger.reading import EventRow, Figures, LiveBlock, TransactionRow, UsageSum
from app.web.amounts import Credits, Units
from app.web.fields import EndUserId, Moment, Priority
from app.wire.ids import show

DEFAULT_PRIORITY = 100


class NewGrant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Credit to be added to a customer's account."""

    end_user_id: EndUserId
    amount: Credits
    expires_at: Moment | None = None
    priority: Priority = DEFAULT_PRIORITY
    source: Literal["promo", "topup", "refund", "adjustment"] = "promo"


class GrantBody(msgspec.Struct, frozen=True):
    """A grant. `balance` is what can be spent after it; null where Redis could not be asked."""

    credit_block_id: str
    end_user_id: str
    amount: Credits
    balance: Credits | None
    source: str
    priority: int
    expires_at: datetime | None
    granted_at: datetime


class BlockBody(msgspec.Struct, frozen=True):
    """A credit block with credit left."""

    credit_block_id: str
    source: str
    granted: Credits
    remaining: Credits
    priority: int
    paid: bool
    effective_at: datetime
    expires_at: datetime | None
    granted_at: datetime


class CreditsBody(msgspec.Struct, frozen=True):
    """What a customer has: `balance` = `total` - `pending` can be spent now; `blocks` in the order of spending."""

    end_user_id: str
    balance: Credits
    reserved: Credits
    pending: Credits
    debt: Credits
    total: Credits
    blocks: list[BlockBody]
    as_of: datetime


class LineBody(msgspec.Struct, frozen=True):
    """A line of a transaction; the lines of one sum to zero."""

    account: str
    amount: Credits


class TransactionBody(msgspec.Struct, frozen=True):
    """A transaction: a step from `total_before` to `total_after`."""

    transaction_id: str
    seq: int
    kind: str
    actor: str
    reason: str | None
    idempotency_key: str | None
    total_before: Credits
    total_after: Credits
    lines: list[LineBody]
    posted_at: datetime
    recorded_at: datetime


class Bucket(StrEnum):
    """How usage is grouped by time."""

    HOUR = "hour"
    DAY = "day"
    TOTAL = "total"


class UsageBody(msgspec.Struct, frozen=True):
    """Usage of one customer and feature from `start` on, for one hour, day, or the whole time asked for."""

    start: datetime
    end_user_id: str
    feature_key: str
    units: Units
    credits: Credits
    events: int


class UsageEventBody(msgspec.Struct, frozen=True):
    """A posted usage event; `overage` is the part of its cost that no credit covered."""

    event_id: str
    end_user_id: str
    feature_key: str
    units: Units
    cost: Credits
    overage: Credits
    idempotency_key: str | None
    properties: msgspec.Raw | None
    """The JSON object as it was sent."""
    occurred_at: datetime
    accepted_at: datetime
    recorded_at: datetime


class EventStatus(StrEnum):
    """What became of an event that was accepted."""

    PENDING = "pending"
    POSTED = "posted"
    REJECTED = "rejected"


class EventStatusBody(msgspec.Struct, frozen=True):
    """What became of an event; `event` where it is posted, `code` and `detail` where it is rejected."""

    event_id: str
    status: EventStatus
    event: UsageEventBody | None = None
    code: str | None = None
    detail: str | None = None


def show_credits(figures: Figures, pending_micro: int, blocks: list[LiveBlock], now: datetime) -> CreditsBody:
    """An account as the API shows it."""
    return CreditsBody(
        end_user_id=figures.end_user_id,
        balance=Credits(figures.total_micro - pending_micro),
        reserved=Credits(0),
        pending=Credits(pending_micro),
        debt=Credits(figures.debt_micro),
        total=Credits(figures.total_micro),
        blocks=[_show_block(block) for block in blocks],
        as_of=now,
    )


def _show_block(block: LiveBlock) -> BlockBody:
    return BlockBody(
        credit_block_id=show("blk", block.id),
        source=block.source,
        granted=Credits(block.granted_micro),
        remaining=Credits(block.remaining_micro),
        priority=block.priority,
        paid=block.paid,
        effective_at=block.effective_at,
        expires_at=block.expires_at,
        granted_at=block.granted_at,
    )


def show_transaction(row: TransactionRow, lines: list[tuple[str, int]]) -> TransactionBody:
    """A transaction as the API shows it."""
    return TransactionBody(
        transaction_id=show("txn", row.id),
        seq=row.seq,
        kind=row.kind,
        actor=row.actor,
        reason=row.reason,
        idempotency_key=row.idempotency_key,
        total_before=Credits(row.total_before_micro),
        total_after=Credits(row.total_after_micro),
        lines=[LineBody(name, Credits(amount_micro)) for name, amount_micro in lines],
        posted_at=row.posted_at,
        recorded_at=row.recorded_at,
    )


def show_usage(row: UsageSum) -> UsageBody:
    """Usage as the API shows it."""
    units, cost = Units(int(row.units_micro)), Credits(int(row.cost_micro))
    return UsageBody(row.start_at, row.end_user_id, row.feature_key, units, cost, row.events)


def show_event(row: EventRow) -> UsageEventBody:
    """A usage event as the API shows it."""
    return UsageEventBody(
        event_id=show("evt", row.id),
        end_user_id=row.end_user_id,
        feature_key=row.feature_key,
        units=Units(row.units_micro),
        cost=Credits(row.cost_micro),
        overage=Credits(row.debt_micro),
        idempotency_key=row.idempotency_key,
        properties=None if row.properties is None else msgspec.Raw(row.properties.encode()),
        occurred_at=row.occurred_at,
        accepted_at=row.accepted_at,
        recorded_at=row.recorded_at,
    )
