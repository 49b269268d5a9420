"""What the API answers. Written by scripts/make_models.py from the OpenAPI document: change neither by hand."""

from datetime import datetime
from typing import Any, Literal, TypeAlias

import msgspec

Amount: TypeAlias = int | float
"""Credits or units, with at most six decimals."""


Reason: TypeAlias = str
"""Why an answer is no, in order of precedence: the first that applies is given. Today one of `feature_not_in_plan`,
`insufficient_credits`, `limit_reached`, `no_subscription`, `subscription_overdue`, `subscription_paused`,
`unknown_customer`, `unknown_feature`."""

OveragePolicy: TypeAlias = str
"""What happens where credit runs out: refuse, allow, or allow and tell. Today one of `allow`, `block`, `notify`."""

ReservationState: TypeAlias = str
"""Where a reservation is; all but `open` are for ever. Today one of `committed`, `expired`, `open`, `released`."""

GrantState: TypeAlias = str
"""Whether a grant is in the ledger yet. Today one of `granted`, `scheduled`."""

PlanKind: TypeAlias = str
"""What a customer is on, or what goes beside it. Today one of `base`, `addon`."""

BillingMode: TypeAlias = str
"""Whether a period is paid for before it begins or after it has ended. Today one of `prepaid`, `postpaid`."""

SubscriptionState: TypeAlias = str
"""Where a subscription stands. The last two are terminal. Today one of `scheduled`, `trialing`, `active`, `paused`,
`overdue`, `canceled`, `expired`."""

Action: TypeAlias = str
"""What moves a subscription: first what clients do, then what time does. Today one of `renew`, `change`,
`schedule_change`, `unschedule`, `pause`, `resume`, `cancel`, `cancel_at_period_end`, `start`, `start_trial`, `convert`,
`turn`, `fall_overdue`, `end`, `expire`."""

Code: TypeAlias = Literal[
    "account_loading",
    "account_unavailable",
    "action_refused",
    "already_retried",
    "already_voided",
    "api_key_ended",
    "backlog",
    "balance_out_of_range",
    "batch_too_large",
    "body_too_large",
    "conflict",
    "cost_too_large",
    "edge_unavailable",
    "event_pending",
    "feature_not_gauge",
    "feature_not_in_plan",
    "feature_not_metered",
    "grant_expired",
    "grant_moved",
    "grant_spent",
    "headers_too_large",
    "idempotency_key_in_flight",
    "idempotency_key_reused",
    "illegal_move",
    "insufficient_credits",
    "internal_error",
    "invalid_body",
    "invalid_units",
    "invalid_value",
    "last_api_key",
    "limit_reached",
    "malformed_json",
    "malformed_request",
    "measure_mismatch",
    "method_not_allowed",
    "missing_scope",
    "no_subscription",
    "not_found",
    "not_retryable",
    "not_voidable",
    "nothing_owed",
    "order_pending",
    "package_inactive",
    "payment_reference_used",
    "plan_kind_differs",
    "reservation_ended",
    "sandbox_only",
    "store_unavailable",
    "subscription_exists",
    "subscription_overdue",
    "subscription_paused",
    "test_clock_advancing",
    "test_clock_conflict",
    "timestamp_out_of_range",
    "too_many_api_keys",
    "too_many_blocks",
    "too_many_endpoints",
    "too_many_holders",
    "too_many_replays",
    "too_many_requests",
    "too_many_reservations",
    "too_many_subscriptions",
    "unauthenticated",
    "unknown_customer",
    "unknown_event_type",
    "unknown_feature",
    "unknown_field",
    "unknown_package",
    "unknown_reservation",
    "unsupported_media_type",
]
"""The codes of problem documents that are known today."""


class CheckAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Whether `units` more may be used now, and why not."""

    allowed: bool
    balance: Amount
    feature_key: str
    units: Amount
    cost: Amount
    reserved: Amount
    reason: Reason | None
    overage_policy: OveragePolicy | None
    subscription_status: str | None
    value: Any
    limit: Amount | None
    used: Amount | None
    resets_at: datetime | None
    version: int


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a check answers; or `allowed` is null, and `code` and `detail` alone say why it could not be answered."""

    allowed: bool | None
    balance: Amount | None = None
    feature_key: str | None = None
    units: Amount | None = None
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


class CheckBatchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One result per check, in their order."""

    results: list[CheckResult]


class Entitlement(msgspec.Struct, frozen=True, kw_only=True):
    """One feature, as a check of 1 unit answers."""

    allowed: bool
    units: Amount
    cost: Amount
    reason: Reason | None
    overage_policy: OveragePolicy | None
    value: Any
    limit: Amount | None
    used: Amount | None
    resets_at: datetime | None


class Entitlements(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a customer may do. Send its `ETag` back as `If-None-Match`: 304 while nothing changed."""

    end_user_id: str
    balance: Amount
    reserved: Amount
    subscription_status: str
    features: dict[str, Entitlement]
    version: int


class UsageAccepted(msgspec.Struct, frozen=True, kw_only=True):
    """The event is taken in for good. `balance` can be spent now; `overage` is the part that no credit covers.

    With `durability` the event is spooled: kept, and decided on once a store is back, so nobody knows its cost yet.

    `event_id` is null where a CloudEvent had no units, so that nothing was recorded.
    """

    event_id: str | None
    accepted: bool
    cost: Amount | None
    balance: Amount | None
    overage: Amount | None
    durability: str | None = None


class BatchResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one event of a batch, in the order of the batch.

    Of CloudEvents there is one result for each feature that reads the event: `index` is its place in the request, and
    the status may be `skipped` too, where it had no units.
    """

    status: str
    replayed: bool
    event_id: str | None
    cost: Amount | None
    balance: Amount | None
    overage: Amount | None
    code: str | None
    detail: str | None
    durability: str | None = None
    index: int | None = None
    feature_key: str | None = None


class BatchAccepted(msgspec.Struct, frozen=True, kw_only=True):
    """One result per event."""

    results: list[BatchResult]


class ReservationOpened(msgspec.Struct, frozen=True, kw_only=True):
    """The credit is set aside until `expires_at`. `balance` can be spent now besides."""

    reservation_id: str
    reserved: Amount
    balance: Amount
    expires_at: datetime


class ReservationEnded(msgspec.Struct, frozen=True, kw_only=True):
    """What was charged and what comes back. `late`: it had expired, and the commit was taken as usage."""

    reservation_id: str
    state: ReservationState
    charged: Amount
    released: Amount
    balance: Amount
    late: bool


class ReservationExtended(msgspec.Struct, frozen=True, kw_only=True):
    """When it falls due now."""

    reservation_id: str
    state: ReservationState
    expires_at: datetime


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of it. Null are `charged` and `released` of an open one, `units` of one in credits."""

    reservation_id: str
    state: ReservationState
    end_user_id: str
    feature_key: str
    units: Amount | None
    reserved: Amount
    charged: Amount | None
    released: Amount | None
    late: bool
    expires_at: datetime


class Acquired(msgspec.Struct, frozen=True, kw_only=True):
    """The holder holds them. `used` is what all holders hold together; `limit` null: there is no cap."""

    feature_key: str
    holder: str
    acquired: bool
    units: int
    used: int
    limit: int | None
    expires_at: datetime | None


class Released(msgspec.Struct, frozen=True, kw_only=True):
    """Whether it held anything, and what all the others hold."""

    released: bool
    used: int
    limit: int | None


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    """Customer, as the API shows it."""

    customer_id: str
    end_user_id: str
    created_at: datetime


class CreditBlock(msgspec.Struct, frozen=True, kw_only=True):
    """CreditBlock, as the API shows it."""

    credit_block_id: str
    source: str
    granted: Amount
    remaining: Amount
    priority: int
    paid: bool
    effective_at: datetime
    expires_at: datetime | None
    granted_at: datetime
    metadata: Any
    price_paid: int | None
    currency: str | None
    external_reference: str | None
    state: GrantState


class Credits(msgspec.Struct, frozen=True, kw_only=True):
    """Credits, as the API shows it."""

    end_user_id: str
    balance: Amount | None
    reserved: Amount
    pending: Amount | None
    debt: Amount
    total: Amount
    blocks: list[CreditBlock]
    as_of: datetime


class Scheduled(msgspec.Struct, frozen=True, kw_only=True):
    """Scheduled, as the API shows it."""

    action: str
    at: datetime
    plan_variant_id: str | None = None
    plan_key: str | None = None
    variant_key: str | None = None
    version: int | None = None


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """Contract, as the API shows it."""

    periods: int
    auto_renew: bool
    periods_left: int
    ends_at: datetime | None


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """Subscription, as the API shows it."""

    subscription_id: str
    end_user_id: str
    plan_variant_id: str
    plan_key: str
    variant_key: str
    version: int
    plan_kind: PlanKind
    billing_mode: BillingMode
    state: SubscriptionState
    period_start: datetime
    period_end: datetime
    period_index: int
    renewed: bool
    scheduled: Scheduled | None
    contract: Contract | None
    paused_at: datetime | None
    overdue_until: datetime | None
    set_aside: Amount
    next_at: datetime | None
    created_at: datetime


class SubscriptionPage(msgspec.Struct, frozen=True, kw_only=True):
    """SubscriptionPage, as the API shows it."""

    data: list[Subscription]
    next_cursor: str | None


class GrantPreview(msgspec.Struct, frozen=True, kw_only=True):
    """GrantPreview, as the API shows it."""

    amount: Amount
    priority: int
    expires_at: datetime | None


class ChangePreview(msgspec.Struct, frozen=True, kw_only=True):
    """ChangePreview, as the API shows it."""

    action: Action
    effective_at: datetime
    credits_granted: Amount
    grants: list[GrantPreview]
    credits_ahead: Amount
    subscription: Subscription


class Topup(msgspec.Struct, frozen=True, kw_only=True):
    """Topup, as the API shows it."""

    topup_id: str
    end_user_id: str
    package_key: str | None
    credits: Amount
    price_paid: int
    currency: str
    payment_reference: str
    credit_block_id: str
    priority: int
    expires_at: datetime | None
    created_at: datetime


class FieldError(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with one field; `field` is a JSON path such as `events[3].units`."""

    field: str
    message: str


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Members of RFC 9457, plus `code` and, for validation, `errors`; `mismatch` for a reused idempotency key."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    errors: list[FieldError] | None = None
    mismatch: list[str] | None = None
    context: dict[str, Any] | None = None
