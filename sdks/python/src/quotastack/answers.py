"""What the client answers itself, beside the models of the API: each says where it comes from."""

from datetime import datetime
from typing import Any, Literal, TypeAlias

import msgspec

from quotastack.events import Number
from quotastack.models import Amount, Credits, Customer, Entitlements, OveragePolicy, Reason, Subscription

Source: TypeAlias = Literal["live", "cache", "fallback"]
"""The service, an answer of the service that was kept, or the client itself because the service was away."""


class EntitlementCheck(msgspec.Struct, frozen=True, kw_only=True):
    """Whether `units` more may be used now. Of a fallback nobody knows `balance` and what else is None.

    `reason` says why not: a reason of the API, or `unavailable` where the service was away. In a list of checks `code`
    and `detail` say why one of them could not be answered, `allowed` is false then.
    """

    allowed: bool
    feature_key: str
    units: Amount
    balance: Amount | None = None
    cost: Amount | None = None
    reserved: Amount | None = None
    reason: Reason | None = None
    overage_policy: OveragePolicy | None = None
    subscription_status: str | None = None
    value: Any = None
    limit: Amount | None = None
    used: Amount | None = None
    resets_at: datetime | None = None
    version: int | None = None
    code: str | None = None
    detail: str | None = None
    source: Source = "live"


class UsageRecorded(msgspec.Struct, frozen=True, kw_only=True):
    """The event is kept: by the service, or (`durability: local`) in the spool until the service takes it.

    `durability: spooled` says that the service has it and decides later. Where nobody knows the figures yet they are
    None. `replayed`: it had been recorded before, and was not charged again.
    """

    accepted: bool
    event_id: str | None = None
    cost: Amount | None = None
    balance: Amount | None = None
    overage: Amount | None = None
    durability: str | None = None
    replayed: bool = False
    source: Source = "live"


class BatchItem(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one event of a batch: `accepted`, or `rejected` with `code` and `detail`.

    `unknown`: nobody heard what became of it, and it is kept nowhere. The same again, under its `idempotency_key`, is
    safe.
    """

    status: str
    idempotency_key: str
    event_id: str | None = None
    cost: Amount | None = None
    balance: Amount | None = None
    overage: Amount | None = None
    code: str | None = None
    detail: str | None = None
    durability: str | None = None
    replayed: bool = False
    source: Source = "live"


class CustomerState(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about a customer, asked for at once."""

    customer: Customer
    credits: Credits
    entitlements: Entitlements
    subscriptions: list[Subscription]


class FlushReport(msgspec.Struct, frozen=True, kw_only=True):
    """How many events still wait, in the spool or in the buffer where the spool is full; `error` says why they do."""

    waiting: int = 0
    error: Exception | None = None


class RejectedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Usage that was sent and will never be taken; it is told to `on_rejected`, and kept beside the spool."""

    end_user_id: str
    feature_key: str
    units: Number
    idempotency_key: str
    timestamp: str
    properties: dict[str, Any] | None
    code: str
    detail: str


class WebhookEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook that was signed by the service. `id` is the same whenever it is sent again."""

    id: str
    type: str
    timestamp: datetime
    end_user_id: str | None = None
    sequence: int | None = None
    data: Any = None
