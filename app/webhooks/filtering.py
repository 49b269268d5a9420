"""Which event goes to which endpoint: pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from uuid import UUID

import msgspec

from app.trail.outbox import EventType
from app.wire.ids import show

ENDPOINT_PREFIX = "whe"
_ALL_BELOW = ".*"
EVENT_TYPES = frozenset[str](EventType)
_FAMILIES = frozenset(event_type.partition(".")[0] + _ALL_BELOW for event_type in EventType)


class Recipient(msgspec.Struct, frozen=True):
    """An endpoint as whoever spreads events sees it."""

    environment_id: UUID
    id: UUID
    event_types: tuple[str, ...] | None
    """None = all."""


class Event(msgspec.Struct, frozen=True):
    """Something that happened and has no place in its feed yet."""

    environment_id: UUID
    id: UUID
    type: str
    end_user_id: str | None
    about: str | None
    """The endpoint that it speaks of, as clients see its id."""


class Delivery(msgspec.Struct, frozen=True):
    """An event that an endpoint is to hear of."""

    environment_id: UUID
    endpoint_id: UUID
    event_id: UUID
    end_user_id: str
    """'' where the event concerns no customer."""


class Spread(msgspec.Struct, frozen=True):
    """What becomes of some events: each has the next position of its feed."""

    positions: Sequence[int]
    """Of as many events as there is room for, from the first on."""
    last_positions: Mapping[UUID, int]
    """By environment."""
    deliveries: Sequence[Delivery]


def unknown_types(event_types: Iterable[str]) -> list[str]:
    """Those that name no event, and no family of them such as `subscription.*`."""
    return [name for name in event_types if name not in _FAMILIES | EVENT_TYPES]


def wants(event_types: Collection[str] | None, event_type: str) -> bool:
    """Whether a filter lets an event through; None lets all."""
    if event_types is None:
        return True
    return event_type in event_types or event_type.partition(".")[0] + _ALL_BELOW in event_types


def is_for(recipient: Recipient, event: Event) -> bool:
    """Whether the endpoint is to hear of the event.

    A test concerns the endpoint that it was asked for, whatever its filter; that an endpoint was disabled all others.
    """
    is_about_it = event.about == show(ENDPOINT_PREFIX, recipient.id)
    if event.type == EventType.WEBHOOK_TEST:
        return is_about_it
    if event.type == EventType.WEBHOOK_ENDPOINT_DISABLED and is_about_it:
        return False
    return wants(recipient.event_types, event.type)


def spread(
    events: Sequence[Event],
    recipients: Mapping[UUID, Sequence[Recipient]],
    last_positions: Mapping[UUID, int],
    most: int,
) -> Spread:
    """Number events in this order and say who hears of each.

    `recipients` and `last_positions` are by environment. Once there would be more than `most` deliveries the rest is
    left for the next time; the first event always has its turn.
    """
    positions: list[int] = []
    ends = dict(last_positions)
    deliveries: list[Delivery] = []
    for event in events:
        environment_id = event.environment_id
        hearing = [each for each in recipients.get(environment_id, ()) if is_for(each, event)]
        if deliveries and len(deliveries) + len(hearing) > most:
            break
        ends[environment_id] = ends.get(environment_id, 0) + 1
        positions.append(ends[environment_id])
        whose = event.end_user_id or ""
        deliveries += [Delivery(environment_id, each.id, event.id, whose) for each in hearing]
    return Spread(positions, ends, deliveries)
