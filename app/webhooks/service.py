"""Endpoints, their secrets, and what is sent to them once more. Real time counts here, whatever a test clock says."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from app.errors import ServiceError, invalid_value
from app.io.ids import new_id
from app.io.postgres import ForeignKeyViolationError, Transaction
from app.rules.addresses import Network
from app.rules.signature import derive_secret, show_secret
from app.rules.webhook_urls import UnusableUrl, require_url
from app.trail import audit, outbox
from app.trail.outbox import EventType
from app.web.fields import require_span
from app.webhooks import endpoint_store, store
from app.webhooks.deciding import KEPT, DisabledReason, State
from app.webhooks.endpoint_store import DeliveryRow, EndpointRow, EventRow, NewReplayRow
from app.webhooks.filtering import ENDPOINT_PREFIX, Delivery
from app.webhooks.schemas import (
    EndpointBody,
    EndpointChange,
    EndpointTested,
    EndpointWithSecret,
    NewEndpoint,
    NewReplay,
    ReplayBody,
    TestBody,
    check_types,
    parse_field,
    show_endpoint,
    show_with_secret,
)
from app.webhooks.sending import EVENT_PREFIX
from app.wire.codes import Code
from app.wire.ids import show

MAX_ENDPOINTS = 2_000
"""Of one environment."""
MAX_REPLAYS = 10
"""Of a time, that are under way in one environment."""
LOOKED_THROUGH = 10_000
"""Events of the feed that one request looks through for those that it was asked for."""


class Installation:
    """What the operator has set for webhooks."""

    def __init__(self, key: str, allowed: Sequence[Network], https_only: str) -> None:
        """`https_only`: always | live | never."""
        self._key = key.encode()
        self._allowed = allowed
        self._https_only = https_only

    def check_url(self, url: str, environment_kind: str) -> str:
        """The URL. Raises ServiceError(INVALID_VALUE) that says what is wrong with it."""
        https_only = self._https_only in {"always", environment_kind}
        try:
            require_url(url, https_only=https_only, allowed=self._allowed)
        except UnusableUrl as error:
            raise invalid_value("url", f"cannot be used: {error}") from error
        return url

    def secret_of(self, row: EndpointRow) -> str:
        """The present secret of an endpoint, as receivers keep it."""
        return show_secret(derive_secret(self._key, row.id, row.secret_version))


class Caller(msgspec.Struct, frozen=True):
    """Who changes endpoints: in an environment of which kind, and when it really is."""

    installation: Installation
    environment_kind: str
    now: datetime


async def create_endpoint(tx: Transaction, caller: Caller, asked: NewEndpoint) -> EndpointWithSecret:
    """A new endpoint and its secret. Raises ServiceError: INVALID_VALUE, TOO_MANY_ENDPOINTS."""
    now = caller.now
    await endpoint_store.lock_environment(tx)
    if await endpoint_store.count_endpoints(tx) >= MAX_ENDPOINTS:
        detail = f"The environment has {MAX_ENDPOINTS} webhook endpoints, which is the most. Delete some."
        raise ServiceError(Code.TOO_MANY_ENDPOINTS, detail)
    row = EndpointRow(
        id=new_id(now),
        url=caller.installation.check_url(asked.url, caller.environment_kind),
        description=asked.description,
        event_types=check_types(asked.event_types),
        enabled=asked.enabled,
        disabled_reason=None if asked.enabled else DisabledReason.ASKED.value,
        disabled_at=None if asked.enabled else now,
        secret_version=1,
        rotated_until=None,
        failing_since=None,
        created_at=now,
        updated_at=now,
    )
    await endpoint_store.write_endpoint(tx, row)
    audit.changed(tx, "webhook_endpoint", show(ENDPOINT_PREFIX, row.id))
    return show_with_secret(row, caller.installation.secret_of(row))


async def find_endpoint(tx: Transaction, endpoint_id: UUID, *, lock: bool = False) -> EndpointRow:
    """An endpoint of the environment, perhaps locked against changes. Raises ServiceError(NOT_FOUND)."""
    row = await endpoint_store.read_endpoint(tx, endpoint_id, lock=lock)
    if row is None:
        raise ServiceError(Code.NOT_FOUND, f"There is no webhook endpoint {show(ENDPOINT_PREFIX, endpoint_id)}.")
    return row


async def change_endpoint(tx: Transaction, caller: Caller, endpoint_id: UUID, change: EndpointChange) -> EndpointBody:
    """The endpoint as it is from now on. Raises ServiceError: NOT_FOUND, INVALID_VALUE.

    One that is enabled again goes on at once with what waits for it.
    """
    before = await find_endpoint(tx, endpoint_id, lock=True)
    row = replace(before, updated_at=caller.now)
    if change.url is not UNSET:
        row = replace(row, url=caller.installation.check_url(change.url, caller.environment_kind))
    if change.description is not UNSET:
        row = replace(row, description=change.description)
    if change.event_types is not UNSET:
        row = replace(row, event_types=check_types(change.event_types))
    if change.enabled is True and not before.enabled:
        row = replace(row, enabled=True, disabled_reason=None, disabled_at=None, failing_since=None)
        await endpoint_store.wake_queues(tx, endpoint_id, caller.now)
    if change.enabled is False and before.enabled:
        row = replace(row, enabled=False, disabled_reason=DisabledReason.ASKED.value, disabled_at=caller.now)
    await endpoint_store.write_endpoint(tx, row)
    audit.changed(tx, "webhook_endpoint", show(ENDPOINT_PREFIX, endpoint_id), before=show_endpoint(before))
    return show_endpoint(row)


async def rotate_secret(tx: Transaction, caller: Caller, endpoint_id: UUID, overlap_seconds: int) -> EndpointWithSecret:
    """The endpoint with a new secret; the one before signs too for a while. Raises ServiceError(NOT_FOUND)."""
    before = await find_endpoint(tx, endpoint_id, lock=True)
    until = caller.now + timedelta(seconds=overlap_seconds)
    version = before.secret_version + 1
    row = replace(before, secret_version=version, rotated_until=until, updated_at=caller.now)
    await endpoint_store.write_endpoint(tx, row)
    audit.changed(tx, "webhook_endpoint", show(ENDPOINT_PREFIX, endpoint_id), before=show_endpoint(before))
    return show_with_secret(row, caller.installation.secret_of(row))


async def delete_endpoint(tx: Transaction, endpoint_id: UUID, now: datetime) -> EndpointBody:
    """The endpoint, which is no more. Raises ServiceError(NOT_FOUND)."""
    row = await find_endpoint(tx, endpoint_id, lock=True)
    await endpoint_store.delete_endpoint(tx, endpoint_id, now)
    audit.changed(tx, "webhook_endpoint", show(ENDPOINT_PREFIX, endpoint_id), before=show_endpoint(row), after=None)
    return show_endpoint(row)


async def test_endpoint(tx: Transaction, endpoint_id: UUID, now: datetime) -> TestBody:
    """An event that goes to this endpoint alone, whatever it wants to hear of. Raises ServiceError(NOT_FOUND)."""
    shown = show(ENDPOINT_PREFIX, (await find_endpoint(tx, endpoint_id)).id)
    event_id = await outbox.leave(tx, EventType.WEBHOOK_TEST, None, EndpointTested(shown, now), now)
    audit.changed(tx, "webhook_endpoint", shown)
    return TestBody(show(EVENT_PREFIX, event_id), shown)


async def find_delivery(tx: Transaction, delivery_id: UUID) -> DeliveryRow:
    """A delivery of the environment. Raises ServiceError(NOT_FOUND)."""
    row = await endpoint_store.read_delivery(tx, delivery_id)
    if row is None:
        raise ServiceError(Code.NOT_FOUND, f"There is no webhook delivery {show('whd', delivery_id)}.")
    return row


async def retry(tx: Transaction, delivery_id: UUID, now: datetime) -> DeliveryRow:
    """The delivery, which is sent once more: behind what waits, or at once where it waits itself.

    Raises ServiceError(NOT_FOUND).
    """
    row = await find_delivery(tx, delivery_id)
    whose = row.end_user_id or ""
    if row.state == State.PENDING:
        await endpoint_store.wake_queue(tx, row.endpoint_id, whose, now)
    else:
        await store.queue_again(tx, [Delivery(tx.environment, row.endpoint_id, row.event_id, whose)], now)
    audit.changed(tx, "webhook_delivery", show("whd", delivery_id))
    return await find_delivery(tx, delivery_id)


async def replay(tx: Transaction, asked: NewReplay, now: datetime) -> ReplayBody:
    """How many events are looked through. Raises ServiceError: INVALID_VALUE, NOT_FOUND, TOO_MANY_REPLAYS."""
    if (asked.event_ids is None) == (asked.since is None):
        raise invalid_value("event_ids", "or from: exactly one of the two says what is sent once more")
    endpoint_id = parse_field("webhook_endpoint_id", ENDPOINT_PREFIX, asked.webhook_endpoint_id)
    endpoint = await find_endpoint(tx, endpoint_id)
    audit.changed(tx, "webhook_endpoint", asked.webhook_endpoint_id)
    if asked.event_ids is not None:
        return ReplayBody(asked.webhook_endpoint_id, await _replay_these(tx, endpoint_id, asked, now))
    return ReplayBody(asked.webhook_endpoint_id, await _replay_range(tx, endpoint, asked, now))


async def _replay_these(tx: Transaction, endpoint_id: UUID, asked: NewReplay, now: datetime) -> int:
    if asked.until is not None or asked.event_types is not None:
        raise invalid_value("event_ids", "say what is sent: to and event_types are for a time")
    wanted = [parse_field("event_ids", EVENT_PREFIX, text) for text in asked.event_ids or ()]
    events = await endpoint_store.find_events(tx, wanted)
    if missing := set(wanted) - {event.id for event in events}:
        detail = (
            f"There is no event {show(EVENT_PREFIX, min(missing))}, or it is not kept any more. Nothing was queued."
        )
        raise ServiceError(Code.NOT_FOUND, detail)
    deliveries = [Delivery(tx.environment, endpoint_id, event.id, event.end_user_id or "") for event in events]
    try:
        await store.queue_again(tx, deliveries, now)
    except ForeignKeyViolationError as error:
        detail = "Some of these events are not kept any more, or the endpoint was deleted. Nothing was queued."
        raise ServiceError(Code.NOT_FOUND, detail) from error
    return len(events)


async def _replay_range(tx: Transaction, endpoint: EndpointRow, asked: NewReplay, now: datetime) -> int:
    since, until = asked.since or now, now if asked.until is None else asked.until
    require_span(since, until)
    places = await endpoint_store.read_range(tx, max(since, now - KEPT), min(until, now))
    if places is None:
        return 0
    await endpoint_store.lock_environment(tx)
    if await endpoint_store.count_replays(tx) >= MAX_REPLAYS:
        detail = f"{MAX_REPLAYS} replays are under way, which is the most. Try again once one has come to its end."
        raise ServiceError(Code.TOO_MANY_REPLAYS, detail)
    types = endpoint.event_types if asked.event_types is None else check_types(asked.event_types)
    await endpoint_store.insert_replay(tx, NewReplayRow(new_id(now), endpoint.id, types, *places, now))
    return places[1] - places[0] + 1


class FeedPage(msgspec.Struct, frozen=True):
    """Some events, where the feed goes on, and whether there is more."""

    events: Sequence[EventRow]
    position: int
    has_more: bool


async def read_feed(
    tx: Transaction, after: int, event_type: str | None, end_user_id: str | None, limit: int
) -> FeedPage:
    """Events behind a place, as far as one request looks."""
    begin, end = await endpoint_store.read_feed_ends(tx)
    after = max(after, begin)
    until = min(after + LOOKED_THROUGH, end)
    events = await endpoint_store.list_events(tx, after, until, event_type, end_user_id, limit=limit)
    position = events[-1].position if len(events) == limit else max(after, until)
    return FeedPage(events, position, has_more=position < end)
