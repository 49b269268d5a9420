"""Bodies of the routes of what was rejected."""

from datetime import datetime

import msgspec

from app.ledger.schemas import EventStatus
from app.rejections.store import RejectedRow
from app.rules.moments import to_datetime
from app.web.amounts import Credits, Units
from app.wire.ids import show


class RejectedEventBody(msgspec.Struct, frozen=True):
    """Usage that could not be posted; what it was is null where it cannot be read, the cost where it has no price.

    `status` is `pending` once it was retried, and `posted` where the ledger has it.
    """

    event_id: str
    end_user_id: str
    status: EventStatus
    code: str
    detail: str
    is_retryable: bool
    feature_key: str | None
    units: Units | None
    cost: Credits | None
    idempotency_key: str | None
    accepted_at: datetime | None
    rejected_at: datetime
    retried_at: datetime | None


def show_rejected(row: RejectedRow) -> RejectedEventBody:
    """What was rejected as the API shows it."""
    entry = row.usage
    sent = None if entry is None else entry.sent
    return RejectedEventBody(
        event_id=show("evt", row.id),
        end_user_id=row.end_user_id,
        status=row.status,
        code=row.code,
        detail=row.detail,
        is_retryable=row.status is EventStatus.REJECTED and row.is_priced,
        feature_key=None if sent is None else sent.feature_key,
        units=None if sent is None else Units(sent.units_micro),
        cost=Credits(entry.cost_micro) if entry is not None and row.is_priced else None,
        idempotency_key=None if sent is None else sent.idempotency_key,
        accepted_at=None if entry is None else to_datetime(entry.accepted_at),
        rejected_at=row.recorded_at,
        retried_at=row.retried_at,
    )
