"""What the hot routes take and answer, for the OpenAPI document. The edge has types of its own, made for speed."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from app.rules.entitlement import OveragePolicy, Reason
from app.web.amounts import Credits, Units
from app.web.fields import EndUserId, Key, Moment
from app.wire.gauges import MAX_HELD_UNITS, MAX_HOLD_SECONDS, MAX_HOLDER_LENGTH
from app.wire.held import DEFAULT_TTL_SECONDS, MAX_TTL_SECONDS
from app.wire.reservations import ReservationState

Holder = Annotated[str, Meta(min_length=1, max_length=MAX_HOLDER_LENGTH)]
HeldUnits = Annotated[int, Meta(ge=1, le=MAX_HELD_UNITS)]
At = Annotated[datetime, Meta(tz=True)]
"""A moment that is answered."""
HoldSeconds = Annotated[int, Meta(ge=1, le=MAX_HOLD_SECONDS)]

Attribute = Annotated[str, Meta(min_length=1, max_length=1024)]


class UsageEvent(msgspec.Struct):
    """Usage, of 1 unit by default. With `enforce` it is refused (402) and not recorded where credit is short."""

    end_user_id: EndUserId
    feature_key: Key
    units: Units | msgspec.UnsetType = msgspec.UNSET
    idempotency_key: str | None = None
    timestamp: Moment | None = None
    properties: dict[str, Any] | None = None
    enforce: bool = False


class UsageAccepted(msgspec.Struct):
    """The event is taken in for good. `balance` can be spent now; `overage` is the part that no credit covers.

    With `durability` the event is spooled: kept, and decided on once a store is back, so nobody knows its cost yet.

    `event_id` is null where a CloudEvent had no units, so that nothing was recorded.
    """

    event_id: str | None
    accepted: bool
    cost: Credits | None
    balance: Credits | None
    overage: Credits | None
    durability: Literal["spooled"] | msgspec.UnsetType = msgspec.UNSET


class UsageBatch(msgspec.Struct):
    """Up to 1000 events. Sending the whole batch again is safe where each has its idempotency key."""

    events: list[UsageEvent]


class BatchResult(msgspec.Struct):
    """What became of one event of a batch, in the order of the batch.

    Of CloudEvents there is one result for each feature that reads the event: `index` is its place in the request,
    and the status may be `skipped` too, where it had no units.
    """

    status: str
    replayed: bool
    event_id: str | None
    cost: Credits | None
    balance: Credits | None
    overage: Credits | None
    code: str | None
    detail: str | None
    durability: Literal["spooled"] | msgspec.UnsetType = msgspec.UNSET
    index: int | msgspec.UnsetType = msgspec.UNSET
    feature_key: str | msgspec.UnsetType | None = msgspec.UNSET


class BatchAccepted(msgspec.Struct):
    """One result per event."""

    results: list[BatchResult]


class CloudEvent(msgspec.Struct):
    """A CloudEvent 1.0, of one customer; `source` and `id` together are its idempotency key.

    It is usage of every feature whose `event_type` is its `type`, by the units that the feature's `units_from` names in
    `data`: a number or a text that is one. Extension attributes are passed over.
    """

    specversion: Literal["1.0"]
    id: Attribute
    source: Attribute
    type: Attribute
    subject: EndUserId
    time: Moment | None = None
    data: Any = None


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
    resets_at: At | None
    version: int


class Check(msgspec.Struct):
    """A question, about 1 unit by default; with 0: any access at all? `properties` as the usage would have them."""

    end_user_id: EndUserId
    feature_key: Key
    units: Units | msgspec.UnsetType = msgspec.UNSET
    properties: dict[str, Any] | None = None


class CheckBatch(msgspec.Struct):
    """Up to 100 checks, of any customers."""

    checks: list[Check]


class CheckResult(msgspec.Struct):
    """What a check answers; or `allowed` is null, and `code` and `detail` alone say why it could not be answered."""

    allowed: bool | None
    balance: Credits | msgspec.UnsetType = msgspec.UNSET
    feature_key: str | msgspec.UnsetType = msgspec.UNSET
    units: Units | msgspec.UnsetType = msgspec.UNSET
    cost: Credits | msgspec.UnsetType = msgspec.UNSET
    reserved: Credits | msgspec.UnsetType = msgspec.UNSET
    reason: Reason | msgspec.UnsetType | None = msgspec.UNSET
    overage_policy: OveragePolicy | msgspec.UnsetType | None = msgspec.UNSET
    subscription_status: str | msgspec.UnsetType | None = msgspec.UNSET
    value: Any = msgspec.UNSET
    limit: Units | msgspec.UnsetType | None = msgspec.UNSET
    used: Units | msgspec.UnsetType | None = msgspec.UNSET
    resets_at: At | msgspec.UnsetType | None = msgspec.UNSET
    version: int | msgspec.UnsetType = msgspec.UNSET
    code: str | msgspec.UnsetType = msgspec.UNSET
    detail: str | msgspec.UnsetType = msgspec.UNSET


class CheckBatchAnswer(msgspec.Struct):
    """One result per check, in their order."""

    results: list[CheckResult]


class Entitlement(msgspec.Struct):
    """One feature, as a check of 1 unit answers."""

    allowed: bool
    units: Units
    cost: Credits
    reason: Reason | None
    overage_policy: OveragePolicy | None
    value: Any
    limit: Units | None
    used: Units | None
    resets_at: At | None


class Entitlements(msgspec.Struct):
    """Everything that a customer may do. Send its `ETag` back as `If-None-Match`: 304 while nothing changed."""

    end_user_id: EndUserId
    balance: Credits
    reserved: Credits
    subscription_status: str
    features: dict[Key, Entitlement]
    version: int


class Acquisition(msgspec.Struct):
    """A holder, such as a seat's user or a run's id, is to hold so many units: instead of those that it holds already.

    Without `ttl_seconds` (at most 7 days) until it releases them.
    """

    end_user_id: EndUserId
    holder: Holder
    units: HeldUnits = 1
    ttl_seconds: HoldSeconds | None = None


class Acquired(msgspec.Struct):
    """The holder holds them. `used` is what all holders hold together; `limit` null: there is no cap."""

    feature_key: Key
    holder: str
    acquired: bool
    units: int
    used: int
    limit: int | None
    expires_at: At | None


class GaugeRelease(msgspec.Struct):
    """Who gives back all that it holds."""

    end_user_id: EndUserId
    holder: Holder


class Released(msgspec.Struct):
    """Whether it held anything, and what all the others hold."""

    released: bool
    used: int
    limit: int | None


class NewReservation(msgspec.Struct):
    """Credit to set aside for `units` of a feature, or for `credits`, not both. Open for 10 minutes by default."""

    end_user_id: EndUserId
    feature_key: Key
    units: Units | msgspec.UnsetType = msgspec.UNSET
    credits: Credits | msgspec.UnsetType = msgspec.UNSET
    ttl_seconds: Annotated[int, Meta(ge=1, le=MAX_TTL_SECONDS)] = DEFAULT_TTL_SECONDS
    idempotency_key: str | None = None
    properties: dict[str, Any] | None = None


class ReservationOpened(msgspec.Struct):
    """The credit is set aside until `expires_at`. `balance` can be spent now besides."""

    reservation_id: str
    reserved: Credits
    balance: Credits
    expires_at: At


class ReservationCommit(msgspec.Struct):
    """What was really used, in the measure that was reserved, 0 and more than was reserved included; neither = all."""

    units: Units | None = None
    credits: Credits | None = None


class ReservationEnded(msgspec.Struct):
    """What was charged and what comes back. `late`: it had expired, and the commit was taken as usage."""

    reservation_id: str
    state: ReservationState
    charged: Credits
    released: Credits
    balance: Credits
    late: bool


class ReservationExtension(msgspec.Struct):
    """From now on; a reservation never falls due earlier by it."""

    ttl_seconds: Annotated[int, Meta(ge=1, le=MAX_TTL_SECONDS)] = DEFAULT_TTL_SECONDS


class ReservationExtended(msgspec.Struct):
    """When it falls due now."""

    reservation_id: str
    state: ReservationState
    expires_at: At


class Reservation(msgspec.Struct):
    """All that is known of it. Null are `charged` and `released` of an open one, `units` of one in credits."""

    reservation_id: str
    state: ReservationState
    end_user_id: str
    feature_key: str
    units: Units | None
    reserved: Credits
    charged: Credits | None
    released: Credits | None
    late: bool
    expires_at: At


BODIES = (
    *(UsageEvent, UsageAccepted, UsageBatch, BatchAccepted, CloudEvent),
    *(CheckAnswer, CheckBatch, CheckBatchAnswer, Entitlements),
    *(Acquisition, Acquired, GaugeRelease, Released),
    *(NewReservation, ReservationOpened, ReservationCommit, ReservationEnded, Reservation),
    *(ReservationExtension, ReservationExtended),
)
