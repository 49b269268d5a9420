"""Who changed what: one row of the audit log for each mutation that took effect, written by its own transaction.

Work says what it changed; of work that says nothing there is a row all the same, with what was asked and answered.
"""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from app.io.ids import new_id
from app.io.postgres import Changed, Transaction
from app.trail import store
from app.trail.store import AuditRow
from app.web.bodies import encode

OPERATOR = "operator"
"""Who it was where no API key is, but the operator's token."""
SubjectKind = Literal[
    "tenant",
    "environment",
    "test_clock",
    "feature",
    "plan",
    "plan_variant",
    "topup_package",
    "customer",
    "override",
    "subscription",
    "usage_event",
    "credit_block",
    "api_key",
    "webhook_endpoint",
    "webhook_delivery",
]
"""What can be changed, as the log names it (docs/audit.md)."""
ANSWER = msgspec.UNSET
"""In the place of what there is afterwards: what was answered says it."""


class Occasion(msgspec.Struct, frozen=True):
    """Who asked for what, when and where; `request` is JSON, and has no secrets."""

    at: datetime
    actor: str
    request_id: str
    route: str
    request: str
    reason: str | None
    idempotency_key: str | None


def changed(
    tx: Transaction,
    kind: SubjectKind,
    subject_id: str,
    *,
    before: object | None = None,
    after: object | None = ANSWER,
    environment_id: UUID | None = None,
) -> None:
    """Say what this transaction changes: how it was (None = it was not), and how it is (None = it is no more).

    Both are shown as `encode` shows them and must hold no secret. `environment_id` is for what belongs to none itself.
    """
    tx.changes.append(Changed(environment_id or tx.environment, kind, subject_id, before, after))


async def record(tx: Transaction, occasion: Occasion, status: int, answer: bytes) -> None:
    """Write the rows of what this transaction has changed; `answer` is what was answered, without secrets."""
    if not tx.changes and tx.environment_id is not None:
        await store.insert_audit(tx, tx.environment_id, _row(occasion, status, answer, None))
    for change in tx.changes:
        await store.insert_audit(tx, change.environment_id, _row(occasion, status, answer, change))


def _row(occasion: Occasion, status: int, answer: bytes, change: Changed | None) -> AuditRow:
    after: object | None = ANSWER if change is None else change.after
    return AuditRow(
        id=new_id(occasion.at),
        at=occasion.at,
        actor=occasion.actor,
        request_id=occasion.request_id,
        route=occasion.route,
        status=status,
        subject_kind=None if change is None else change.kind,
        subject_id=None if change is None else change.id,
        request=occasion.request,
        before=None if change is None else _shown(change.before),
        after=answer.decode() if after is ANSWER else _shown(after),
        reason=occasion.reason,
        idempotency_key=occasion.idempotency_key,
    )


def _shown(value: object | None) -> str | None:
    return None if value is None else encode(value).decode()
