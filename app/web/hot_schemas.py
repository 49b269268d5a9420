"""What the hot routes take and answer, for the OpenAPI document. The edge has types of its own, made for speed."""

from datetime import datetime
from typing import Any, Literal

import msgspec

from app.rules.entitlement import OveragePolicy, Reason
from app.web.amounts import Credits, Units
from app.web.fields import EndUserId, Key


class UsageEvent(msgspec.Struct):
    """Usage, of 1 unit by default. With `enforce` it is refused (402) and not recorded where credit is short."""

    end_user_id: EndUserId
    feature_key: Key
    units: Units | msgspec.UnsetType = msgspec.UNSET
    idempotency_key: str | None = None
    timestamp: datetime | None = None
    properties: dict[str, Any] | None = None
    enforce: bool = False


class UsageAccepted(msgspec.Struct):
    """The event is taken in for good. `balance` can be spent now; `overage` is the part that no credit covers.

    With `durability` the event is spooled: kept, and decided on once a store is back, so nobody knows its cost yet.
    """

    event_id: str
    accepted: bool
    cost: Credits | None
    balance: Credits | None
    overage: Credits | None
    durability: Literal["spooled"] | msgspec.UnsetType = msgspec.UNSET


class UsageBatch(msgspec.Struct):
    """Up to 1000 events. Sending the whole batch again is safe where each has its idempotency key."""

    events: list[UsageEvent]


class BatchResult(msgspec.Struct):
    """What became of one event of a batch, in the order of the batch."""

    status: str
    replayed: bool
    event_id: str | None
    cost: Credits | None
    balance: Credits | None
    overage: Credits | None
    code: str | None
    detail: str | None
    durability: Literal["spooled"] | msgspec.UnsetType = msgspec.UNSET


class BatchAccepted(msgspec.Struct):
    """One result per event."""

    results: list[BatchResult]


class CheckAnswer(msgspec.Struct):
    """Whether `units` more may be used now, and why not."""

    allowed: bool
    balance: Credits
    feature_key: str
    units: Units
    cost: Credits
    reserved: Credits
    reason: Reason | None
    overage_policy: OveragePolicy | None
    subscription_status: str | None
    value: Any
    limit: Units | None
    used: Units | None
    resets_at: datetime | None
    version: int


BODIES = (UsageEvent, UsageAccepted, UsageBatch, BatchAccepted, CheckAnswer)
