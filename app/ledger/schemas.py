"""Bodies of the credit, ledger and usage routes."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from app.errors import invalid_value
from app.ledger.book import BlockNotes
from app.ledger.explaining import ExplainedAmount, ExplainedBlock
from app.ledger.reading import EventRow, Figures, LiveBlock, TransactionRow, UsageSum
from app.rules.burndown import Criterion, Outcome, Rollover
from app.rules.moments import NEVER_AT, to_at
from app.web.amounts import Credits, CreditsAboveZero, Units, amount_or_none, optional_micro
from app.web.bodies import encode
from app.web.fields import LAST, Currency, EndUserId, Moment, PricePaid, Priority, Reason, Reference
from app.wire.ids import show

DEFAULT_PRIORITY = 100
PERCENT = 10_000
"""In millionths."""
MAX_METADATA_BYTES = 4096
"""Of a block's metadata as JSON."""


class NewRollover(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What becomes of unused credit when its block expires: `percent` of it, at most `cap`, in another block."""

    percent: Annotated[int, Meta(ge=1, le=100)]
    expires_at: Moment
    cap: CreditsAboveZero | None = None


class NewGrant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Credit to be added to a customer's account.

    With an `accumulation_cap` as much is granted as lifts what all blocks of the source hold to the cap. Such a grant,
    and one that becomes effective later, is posted at its moment; until then its `state` is `scheduled`.

    What was paid for (`source` topup, or a `price_paid` above zero) is spent after what was free. `price_paid` and
    `currency` come together. `metadata` is kept with the block: at most 4096 bytes of JSON.
    """

    end_user_id: EndUserId
    amount: CreditsAboveZero
    effective_at: Moment | None = None
    """Default: now."""
    expires_at: Moment | None = None
    priority: Priority = DEFAULT_PRIORITY
    source: Literal["promo", "topup", "refund", "adjustment"] = "promo"
    reason: Reason | None = None
    metadata: dict[str, Any] | None = None
    price_paid: PricePaid | None = None
    currency: Currency | None = None
    external_reference: Reference | None = None
    accumulation_cap: CreditsAboveZero | None = None
    rollover: NewRollover | None = None


class GrantState(StrEnum):
    """Whether a grant is in the ledger yet."""

    GRANTED = "granted"
    SCHEDULED = "scheduled"


class TotalBody(msgspec.Struct, frozen=True):
    """How a customer's credit stood in the ledger, as the audit log tells it of what changed that."""

    total: Credits


class GrantBody(msgspec.Struct, frozen=True):
    """A grant. `balance` is what can be spent after it.

    Null where that is not known: the account was not in memory, and usage of it might still have to be posted.
    """

    credit_block_id: str
    end_user_id: str
    amount: Credits
    balance: Credits | None
    source: str
    priority: int
    paid: bool
    effective_at: datetime
    expires_at: datetime | None
    granted_at: datetime
    reason: str | None
    metadata: dict[str, Any] | None
    price_paid: int | None
    currency: str | None
    external_reference: str | None
    state: GrantState


class BlockBody(msgspec.Struct, frozen=True):
    """A credit block with credit left; one that is `scheduled` is not in the totals yet."""

    credit_block_id: str
    source: str
    granted: Credits
    remaining: Credits
    priority: int
    paid: bool
    effective_at: datetime
    expires_at: datetime | None
    granted_at: datetime
    metadata: msgspec.Raw | None
    """The JSON object as it was sent."""
    price_paid: int | None
    currency: str | None
    external_reference: str | None
    state: GrantState


class StepBody(msgspec.Struct, frozen=True):
    """A credit block in an explanation: `drawn` is what the amount would take from it, and `outcome` says why.

    `spoken_for` is the part of `remaining` that open debt and pending usage take before. `behind_by` names the first
    criterion of the burn order by which the block stands behind the one before it; null for the first.
    """

    credit_block_id: str
    source: str
    priority: int
    paid: bool
    effective_at: datetime
    expires_at: datetime | None
    granted_at: datetime
    remaining: Credits
    spoken_for: Credits
    drawn: Credits
    outcome: Outcome
    behind_by: Criterion | None


class ExplanationBody(msgspec.Struct, frozen=True):
    """Where `amount` would come from if it were spent now: `steps` in the order of spending.

    `pending` usage is recorded and not yet drawn from the ledger's blocks: `balance` = `total` - `pending`.
    """

    end_user_id: str
    amount: Credits
    balance: Credits
    pending: Credits
    debt: Credits
    total: Credits
    shortfall: Credits
    steps: list[StepBody]
    as_of: datetime


class BalanceBody(msgspec.Struct, frozen=True):
    """What the ledger's total was at a moment: after the transaction `seq`, posted at `posted_at`.

    0 and null before the first. It does not know of usage that was pending then.
    """

    end_user_id: str
    at: datetime
    total: Credits
    seq: int
    posted_at: datetime | None


class CreditsBody(msgspec.Struct, frozen=True):
    """What a customer has: `balance` = `total` - `pending` can be spent now; `blocks` in the order of spending.

    Both are null while they are not known: the account is not in memory, and usage of it may still have to be posted.
    `reserved` is what open reservations hold, as far as they are posted: it is in no block, and not in the total.
    """

    end_user_id: str
    balance: Credits | None
    reserved: Credits
    pending: Credits | None
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
    """A posted usage event; `overage` is the part of its cost that no credit covered. Once voided, it is no usage."""

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
    voided_at: datetime | None


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


def show_credits(figures: Figures, pending_micro: int | None, blocks: list[LiveBlock], now: datetime) -> CreditsBody:
    """An account as the API shows it."""
    return CreditsBody(
        end_user_id=figures.end_user_id,
        balance=amount_or_none(Credits, None if pending_micro is None else figures.total_micro - pending_micro),
        reserved=Credits(figures.reserved_micro),
        pending=amount_or_none(Credits, pending_micro),
        debt=Credits(figures.debt_micro),
        total=Credits(figures.total_micro),
        blocks=[_show_block(block) for block in blocks],
        as_of=now,
    )


def read_notes(new: NewGrant) -> BlockNotes:
    """What is kept with the block of a grant. Raises ServiceError(INVALID_VALUE)."""
    check_price(new.price_paid, new.currency)
    metadata = None if new.metadata is None else encode(new.metadata)
    if metadata is not None and len(metadata) > MAX_METADATA_BYTES:
        raise invalid_value("metadata", f"may have {MAX_METADATA_BYTES} bytes of JSON; it has {len(metadata)}")
    return BlockNotes(
        None if metadata is None else metadata.decode(), new.price_paid, new.currency, new.external_reference
    )


def read_rollover(new: NewGrant) -> Rollover | None:
    """What becomes of the block when it expires. Raises ServiceError(INVALID_VALUE)."""
    if new.rollover is None:
        return None
    if new.expires_at is None:
        raise invalid_value("rollover", "needs an expires_at: credit that never expires does not roll over")
    if new.rollover.expires_at <= new.expires_at or to_at(new.rollover.expires_at) >= NEVER_AT:
        raise invalid_value("rollover.expires_at", f"must lie after expires_at, and before {LAST}")
    return Rollover(new.rollover.percent * PERCENT, optional_micro(new.rollover.cap), to_at(new.rollover.expires_at))


def check_price(price_paid: int | None, currency: str | None) -> None:
    """Price and currency come together, or not at all. Raises ServiceError(INVALID_VALUE)."""
    if price_paid is None and currency is not None:
        raise invalid_value("price_paid", "is required where there is a currency")
    if currency is None and price_paid is not None:
        raise invalid_value("currency", "is required where there is a price_paid")


def show_explanation(
    figures: Figures, pending_micro: int, amount_micro: int, explained: ExplainedAmount, now: datetime
) -> ExplanationBody:
    """An explanation as the API shows it."""
    return ExplanationBody(
        end_user_id=figures.end_user_id,
        amount=Credits(amount_micro),
        balance=Credits(figures.total_micro - pending_micro),
        pending=Credits(pending_micro),
        debt=Credits(figures.debt_micro),
        total=Credits(figures.total_micro),
        shortfall=Credits(explained.shortfall_micro),
        steps=[_show_step(step) for step in explained.steps],
        as_of=now,
    )


def _show_step(step: ExplainedBlock) -> StepBody:
    block = step.block
    return StepBody(
        credit_block_id=show("blk", block.id),
        source=block.source,
        priority=block.priority,
        paid=block.paid,
        effective_at=block.effective_at,
        expires_at=block.expires_at,
        granted_at=block.granted_at,
        remaining=Credits(block.remaining_micro),
        spoken_for=Credits(step.owed_micro),
        drawn=Credits(step.drawn_micro),
        outcome=step.outcome,
        behind_by=step.behind_by,
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
        metadata=None if block.metadata is None else msgspec.Raw(block.metadata.encode()),
        price_paid=block.price_paid,
        currency=block.currency,
        external_reference=block.external_reference,
        state=GrantState.SCHEDULED if block.is_scheduled else GrantState.GRANTED,
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
        voided_at=row.voided_at,
    )
