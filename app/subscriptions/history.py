"""What became of subscriptions, as their history keeps it."""

from datetime import datetime
from uuid import UUID

import msgspec


class Change(msgspec.Struct, frozen=True):
    """One change: what it was, from where to where, who did it and why. States are None before there was one."""

    environment_id: UUID
    subscription_id: UUID
    number: int
    """From 1 on, without gaps."""
    at: datetime
    action: str
    state_before: str | None
    state_after: str
    version_before: UUID | None
    version_after: UUID
    actor: str
    reason: str | None
    payment_reference: str | None
    idempotency_key: str | None
    variant_asked: UUID | None = None
    """Of a change that a client asked for, at once or to come: to which variant."""
