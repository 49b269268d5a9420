"""Bodies of the correction routes."""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from app.corrections.service import Previewed
from app.ledger.schemas import DEFAULT_PRIORITY, LineBody
from app.orders.store import Posted
from app.web.amounts import Credits
from app.web.fields import EndUserId, Moment, Priority, Reason
from app.wire.ids import show


class NewVoid(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A usage event or a grant that is to be as if it had not happened; one of the two."""

    reason: Reason
    event_id: str | None = None
    credit_block_id: str | None = None
    allow_debt: bool = False
    """Of a grant: what of it is spent already becomes debt."""
    dry_run: bool = False
    """Only say what would happen."""


class NewEventVoid(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why an event is voided."""

    reason: Reason
    dry_run: bool = False


class NewOverageBilling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a customer owes goes on an invoice of yours: it is closed, so that the next credit does not pay it again."""

    end_user_id: EndUserId
    reason: Reason
    dry_run: bool = False


class NewAdjustment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A correction: so much credit more, or less where `amount` is below zero.

    `priority` and `expires_at` are those of the block that an addition makes. What a customer does not have cannot be
    taken, unless `allow_debt` says that the rest becomes debt.
    """

    end_user_id: EndUserId
    amount: Credits
    reason: Reason
    expires_at: Moment | None = None
    priority: Priority = DEFAULT_PRIORITY
    allow_debt: bool = False


class AdjustmentBody(msgspec.Struct, frozen=True):
    """An adjustment. `balance` is what can be spent after it.

    Null where that is not known: the account was not in memory, and usage of it might still have to be posted.
    """

    transaction_id: str
    end_user_id: str
    amount: Credits
    balance: Credits | None
    reason: str
    credit_block_id: str | None
    """The block that an addition made."""
    expires_at: datetime | None
    adjusted_at: datetime


class CorrectionBody(msgspec.Struct, frozen=True):
    """What was corrected, or would be; the lines sum to zero. Without a transaction where it was a dry run."""

    end_user_id: str
    kind: str
    dry_run: bool
    transaction_id: str | None
    total_before: Credits
    total_after: Credits
    lines: list[LineBody]
    posted_at: datetime | None


def show_done(end_user_id: str, done: Posted) -> CorrectionBody:
    """An order that was carried out."""
    return CorrectionBody(
        end_user_id,
        done.kind,
        dry_run=False,
        transaction_id=show("txn", done.transaction_id),
        total_before=Credits(done.total_before_micro),
        total_after=Credits(done.total_after_micro),
        lines=_lines(done.lines),
        posted_at=done.posted_at,
    )


def show_taken(data: NewAdjustment, done: Posted) -> AdjustmentBody:
    """An adjustment that took credit. Nothing was under way when it was carried out: the total is the balance."""
    return AdjustmentBody(
        transaction_id=show("txn", done.transaction_id),
        end_user_id=data.end_user_id,
        amount=data.amount,
        balance=Credits(done.total_after_micro),
        reason=data.reason,
        credit_block_id=None,
        expires_at=None,
        adjusted_at=done.posted_at,
    )


def show_preview(end_user_id: str, preview: Previewed) -> CorrectionBody:
    """An order that was not given."""
    return CorrectionBody(
        end_user_id,
        preview.kind,
        dry_run=True,
        transaction_id=None,
        total_before=Credits(preview.total_before_micro),
        total_after=Credits(preview.total_after_micro),
        lines=_lines(preview.lines),
        posted_at=None,
    )


def _lines(lines: Iterable[tuple[str, int]]) -> list[LineBody]:
    return [LineBody(name, Credits(amount_micro)) for name, amount_micro in lines]
