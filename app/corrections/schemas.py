"""Bodies of the correction routes."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from app.corrections.service import Preview
from app.corrections.store import CarriedOut
from app.ledger.schemas import LineBody
from app.web.amounts import Credits
from app.wire.ids import show

Reason = Annotated[str, Meta(min_length=1, max_length=500, description="Why; it stands in the ledger.")]


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


def show_done(end_user_id: str, done: CarriedOut) -> CorrectionBody:
    """An order that was carried out."""
    return CorrectionBody(
        end_user_id,
        done.kind or "",
        dry_run=False,
        transaction_id=None if done.transaction_id is None else show("txn", done.transaction_id),
        total_before=Credits(done.total_before_micro or 0),
        total_after=Credits(done.total_after_micro or 0),
        lines=_lines(zip(done.names, done.amounts, strict=True)),
        posted_at=done.posted_at,
    )


def show_preview(end_user_id: str, preview: Preview) -> CorrectionBody:
    """An order that was not given."""
    return CorrectionBody(
        end_user_id,
        preview.carried.kind,
        dry_run=True,
        transaction_id=None,
        total_before=Credits(preview.total_before_micro),
        total_after=Credits(preview.total_after_micro),
        lines=_lines(preview.carried.lines),
        posted_at=None,
    )


def _lines(lines: Iterable[tuple[str, int]]) -> list[LineBody]:
    return [LineBody(name, Credits(amount_micro)) for name, amount_micro in lines]
