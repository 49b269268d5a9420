"""Bodies of the webhook routes, and what webhooks themselves say of webhooks."""

from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import replace

from app.errors import ServiceError, invalid_value
from app.rules.webhook_urls import MAX_URL_LENGTH
from app.web.fields import Description, Moment
from app.webhooks.deciding import DisabledReason, State
from app.webhooks.endpoint_store import AttemptRow, DeliveryRow, EndpointRow, EventRow
from app.webhooks.filtering import ENDPOINT_PREFIX, unknown_types
from app.webhooks.sending import EVENT_PREFIX
from app.wire.codes import Code
from app.wire.ids import MalformedId, parse, show

DELIVERY_PREFIX = "whd"
OVERLAP_SECONDS = 86_400
MAX_OVERLAP_SECONDS = 604_800
MAX_EVENT_TYPES = 50
MAX_EVENT_IDS = 1_000

Url = Annotated[str, Meta(min_length=1, max_length=MAX_URL_LENGTH, description="Where events are posted to.")]
EventTypes = Annotated[
    list[str],
    Meta(min_length=1, max_length=MAX_EVENT_TYPES, description="Types, or families of them such as `subscription.*`."),
]


class NewEndpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An endpoint to be made. Without `event_types` it hears of everything."""

    url: Url
    description: Description = ""
    event_types: EventTypes | None = None
    enabled: bool = True


class EndpointChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be another from now on; what is left out stays."""

    url: Url | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    event_types: EventTypes | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET


class EndpointBody(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint. `disabled_reason`: `asked` by you, `gone` (it answered 410) or `failing` for five days."""

    webhook_endpoint_id: str
    url: str
    description: str
    event_types: list[str] | None
    enabled: bool
    disabled_reason: DisabledReason | None
    disabled_at: datetime | None
    failing_since: datetime | None
    secret_rotated_until: datetime | None
    """Until then the secret before signs beside the present one."""
    created_at: datetime
    updated_at: datetime


class EndpointWithSecret(EndpointBody, frozen=True, kw_only=True):
    """An endpoint and its new secret, which is shown here and never again: a replay has null in its place."""

    secret: str | None

    def without_secrets(self) -> Self:
        """What is stored of the answer."""
        return replace(self, secret=None)


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long the secret before signs beside the new one."""

    overlap_seconds: Annotated[int, Meta(ge=0, le=MAX_OVERLAP_SECONDS)] = OVERLAP_SECONDS


class TestBody(msgspec.Struct, frozen=True):
    """The event that goes to the endpoint. It is delivered like any other: look for it among the deliveries."""

    event_id: str
    webhook_endpoint_id: str


class EndpointTested(msgspec.Struct, frozen=True):
    """What a webhook says of `webhook.test`."""

    webhook_endpoint_id: str
    asked_at: datetime


class AttemptBody(msgspec.Struct, frozen=True):
    """One attempt: `status` is what was answered, or `failure` why nothing was; `answer` the beginning of a body."""

    number: int
    at: datetime
    status: int | None
    failure: str | None
    elapsed_ms: int
    answer: str | None


class DeliveryBody(msgspec.Struct, frozen=True, kw_only=True):
    """An event on its way to an endpoint.

    What is `pending` waits for its turn in the queue of its customer, or since an attempt failed for `next_attempt_at`.
    What is `parked` had its last attempt. The latest attempts are shown.
    """

    webhook_delivery_id: str
    webhook_endpoint_id: str
    event_id: str
    event_type: str
    end_user_id: str | None
    sequence: int
    state: State
    attempt_count: int
    next_attempt_at: datetime | None
    created_at: datetime
    finished_at: datetime | None
    attempts: list[AttemptBody]


class NewReplay(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an endpoint is to be sent once more: certain `event_ids`, or what was told in a time.

    Of a time, `event_types` or else the endpoint's own say what. Each keeps its id, and comes behind what waits of its
    customer already.
    """

    webhook_endpoint_id: str
    event_ids: Annotated[list[str], Meta(min_length=1, max_length=MAX_EVENT_IDS)] | None = None
    since: Moment | None = msgspec.field(default=None, name="from")
    until: Moment | None = msgspec.field(default=None, name="to")
    """Default: now."""
    event_types: EventTypes | None = None


class ReplayBody(msgspec.Struct, frozen=True):
    """How many events are looked through: those of them are sent that the endpoint is to hear of.

    All where they were asked for by their ids.
    """

    webhook_endpoint_id: str
    looked_through: int


class EventBody(msgspec.Struct, frozen=True):
    """Something that happened, as webhooks tell it. `sequence` counts the events of its customer, without a gap.

    `recorded_at` is when it came into the feed, by the real time also where a test clock dates what happens: a replay
    from then on has it.
    """

    event_id: str
    type: str
    timestamp: datetime
    """When it happened: the name is that of Standard Webhooks."""
    end_user_id: str | None
    sequence: int
    recorded_at: datetime
    data: msgspec.Raw


class EventPage(msgspec.Struct, frozen=True):
    """Events in the order of the feed. `next_cursor` is always there: asked again with it, the feed goes on.

    Where there is more already, `has_more` says so, also when this page holds nothing that was asked for.
    """

    data: list[EventBody]
    next_cursor: str
    has_more: bool


def parse_endpoint(text: str) -> UUID:
    """The id of an endpoint in a path. Raises ServiceError(NOT_FOUND)."""
    return _parse_path(ENDPOINT_PREFIX, text, "a webhook endpoint")


def parse_delivery(text: str) -> UUID:
    """The id of a delivery in a path. Raises ServiceError(NOT_FOUND)."""
    return _parse_path(DELIVERY_PREFIX, text, "a webhook delivery")


def parse_field(field: str, prefix: str, text: str) -> UUID:
    """The id in a body or a query. Raises ServiceError(INVALID_VALUE)."""
    try:
        return parse(prefix, text)
    except MalformedId as error:
        raise invalid_value(field, str(error)) from error


def check_types(event_types: list[str] | None) -> list[str] | None:
    """The filter, each name once. Raises ServiceError(INVALID_VALUE) for a name that means nothing."""
    if event_types is None:
        return None
    if unknown := unknown_types(event_types):
        raise invalid_value("event_types", f"has {unknown[0]!r}, which no event has; docs/webhooks.md lists them")
    return list(dict.fromkeys(event_types))


def show_endpoint(row: EndpointRow) -> EndpointBody:
    """The endpoint as the API shows it."""
    return EndpointBody(**_shown(row))


def show_with_secret(row: EndpointRow, secret: str) -> EndpointWithSecret:
    """The endpoint as the API shows it once."""
    return EndpointWithSecret(**_shown(row), secret=secret)


def show_delivery(row: DeliveryRow, attempts: list[AttemptRow]) -> DeliveryBody:
    """The delivery as the API shows it."""
    return DeliveryBody(
        webhook_delivery_id=show(DELIVERY_PREFIX, row.id),
        webhook_endpoint_id=show(ENDPOINT_PREFIX, row.endpoint_id),
        event_id=show(EVENT_PREFIX, row.event_id),
        event_type=row.event_type,
        end_user_id=row.end_user_id,
        sequence=row.sequence,
        state=State(row.state),
        attempt_count=row.attempts,
        next_attempt_at=row.next_attempt_at,
        created_at=row.created_at,
        finished_at=row.finished_at,
        attempts=[
            AttemptBody(each.number, each.at, each.status, each.failure, each.elapsed_ms, each.answer)
            for each in attempts
        ],
    )


def show_event(row: EventRow) -> EventBody:
    """The event as the feed shows it."""
    return EventBody(
        show(EVENT_PREFIX, row.id),
        row.type,
        row.created_at,
        row.end_user_id,
        row.sequence,
        row.relayed_at,
        msgspec.Raw(row.data.encode()),
    )


def _shown(row: EndpointRow) -> dict[str, Any]:
    return {
        "webhook_endpoint_id": show(ENDPOINT_PREFIX, row.id),
        "url": row.url,
        "description": row.description,
        "event_types": row.event_types,
        "enabled": row.enabled,
        "disabled_reason": row.disabled_reason,
        "disabled_at": row.disabled_at,
        "failing_since": row.failing_since,
        "secret_rotated_until": row.rotated_until,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


def _parse_path(prefix: str, text: str, what: str) -> UUID:
    try:
        return parse(prefix, text)
    except MalformedId as error:
        raise ServiceError(Code.NOT_FOUND, f"{text!r} is not the id of {what}.") from error
