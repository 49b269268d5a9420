"""Bodies of the audit log."""

from datetime import datetime

import msgspec

from app.trail.store import AuditRow
from app.wire.ids import show


class AuditEntryBody(msgspec.Struct, frozen=True):
    """A change that took effect: who asked for it when, where and why, and what it changed.

    `request` is what was asked: the parameters of the path, of the query if it has any, and the body. `before` is null
    where there was nothing before, `after` where there is nothing any more; where no subject is named `after` is what
    was answered.
    """

    audit_id: str
    at: datetime
    actor: str
    route: str
    status: int
    subject_kind: str | None
    subject_id: str | None
    request: msgspec.Raw
    before: msgspec.Raw | None
    after: msgspec.Raw | None
    reason: str | None
    idempotency_key: str | None
    request_id: str


def show_entry(row: AuditRow) -> AuditEntryBody:
    """The row as the API shows it."""
    return AuditEntryBody(
        audit_id=show("aud", row.id),
        at=row.at,
        actor=row.actor,
        route=row.route,
        status=row.status,
        subject_kind=row.subject_kind,
        subject_id=row.subject_id,
        request=msgspec.Raw(row.request.encode()),
        before=_raw(row.before),
        after=_raw(row.after),
        reason=row.reason,
        idempotency_key=row.idempotency_key,
        request_id=row.request_id,
    )


def _raw(text: str | None) -> msgspec.Raw | None:
    return None if text is None else msgspec.Raw(text.encode())
