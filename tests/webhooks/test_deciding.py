"""What becomes of deliveries, queues and endpoints: pure, as laws and small tables."""

from collections import defaultdict
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.jobs.lanes import FIRST_WIDTH, FORGOTTEN_MICROSECONDS, GREATEST_WIDTH, SLOW_MS, SLOW_WIDTH, Lanes
from app.rules.retry import JITTER_RANGE, SCHEDULE_SECONDS
from app.trail.outbox import EventType
from app.webhooks.deciding import (
    FAILING_MICROSECONDS,
    Attempt,
    DisabledReason,
    Health,
    State,
    fate_after,
    health_after,
)
from app.webhooks.filtering import Event, Recipient, spread, unknown_types, wants
from tests.rules.laws import LAW

ENDPOINT, ENVIRONMENT = UUID(int=1), UUID(int=2)
statuses = st.sampled_from([200, 204, 299, 301, 404, 410, 500, None])
TYPES = [event_type.value for event_type in EventType]


def attempt(status: int | None, at: int = 0, elapsed_ms: int = 1) -> Attempt:
    """An attempt that was answered so."""
    return Attempt(at, status, None if status else "timed_out", None, elapsed_ms, None)


@LAW
@given(statuses, st.integers(1, len(SCHEDULE_SECONDS)), st.integers(0, JITTER_RANGE))
def test_an_attempt_has_one_of_three_fates(status: int | None, number: int, jitter: int) -> None:
    """Delivered by a 2xx alone; else tried again later, and after the last attempt parked."""
    fate = fate_after(attempt(status, at=10), number, jitter)
    if status is not None and status // 100 == 2:
        assert fate.state is State.DELIVERED
    elif number == len(SCHEDULE_SECONDS):
        assert fate.state is State.PARKED
    else:
        assert fate.state is State.PENDING
    assert (fate.due_at is not None) == (fate.state is State.PENDING)
    assert fate.due_at is None or fate.due_at > 10


@LAW
@given(st.none() | st.integers(0, 5), st.lists(statuses, max_size=8))
def test_health_does_not_depend_on_how_attempts_are_cut(since: int | None, answers: list[int | None]) -> None:
    """Those of one batch or of two: the same health, as long as nothing disables the endpoint in between."""
    attempts = [attempt(status, at=10 + place) for place, status in enumerate(answers) if status != 410]
    middle = len(attempts) // 2
    first = health_after(since, attempts[:middle])
    assert health_after(since, attempts) == health_after(first.failing_since, attempts[middle:])
    if attempts and attempts[-1].went_well:
        assert health_after(since, attempts) == Health(None)


@pytest.mark.parametrize(
    ("since", "status", "at", "expected"),
    [
        (None, 500, 7, Health(7)),
        (3, 500, 7, Health(3)),
        (3, 200, 7, Health(None)),
        (None, 410, 7, Health(7, DisabledReason.GONE)),
        (3, 410, 7, Health(3, DisabledReason.GONE)),
        (3, None, 2 + FAILING_MICROSECONDS, Health(3)),
        (3, None, 3 + FAILING_MICROSECONDS, Health(3, DisabledReason.FAILING)),
        (3, 200, 3 + FAILING_MICROSECONDS, Health(None)),
    ],
)
def test_when_an_endpoint_is_disabled(since: int | None, status: int | None, at: int, expected: Health) -> None:
    """At once by a 410; by the first failure after five days of nothing else."""
    assert health_after(since, [attempt(status, at)]) == expected


@pytest.mark.parametrize(
    ("event_types", "event_type", "expected"),
    [
        (None, "credits.low", True),
        (["credits.low"], "credits.low", True),
        (["credits.low"], "credits.depleted", False),
        (["credits.*"], "credits.depleted", True),
        (["credits.*"], "customer.created", False),
        (["customer.created", "credits.*"], "customer.created", True),
    ],
)
def test_what_a_filter_lets_through(event_types: list[str] | None, event_type: str, *, expected: bool) -> None:
    """Exact types and families."""
    assert wants(event_types, event_type) is expected


def test_names_that_mean_nothing_are_found() -> None:
    """A star alone is none, for that is what leaving the filter out says."""
    assert unknown_types(["*", "credits.*", "credits.", "credit.*", "credits.low", "usage.rejected"]) == [
        *("*", "credits.", "credit.*"),
    ]


environments = st.sampled_from([UUID(int=1), UUID(int=2)])
events = st.lists(
    st.builds(Event, environments, st.uuids(), st.sampled_from(TYPES), st.none() | st.sampled_from("ab"), st.none()),
    max_size=12,
)
recipients = st.lists(
    st.builds(Recipient, environments, st.uuids(), st.none() | st.sampled_from([("credits.*",), ("topup.granted",)])),
    max_size=4,
)


@LAW
@given(events, recipients, st.integers(0, 6))
def test_spreading_in_parts_is_spreading_at_once(told: list[Event], hearing: list[Recipient], most: int) -> None:
    """Every event gets the next place of its feed, and goes to those who want it, in order; however small the parts."""
    by_environment: dict[UUID, list[Recipient]] = defaultdict(list)
    for recipient in hearing:
        by_environment[recipient.environment_id].append(recipient)
    whole = spread(told, by_environment, {}, 1_000)
    positions: list[int] = []
    deliveries = []
    ends: dict[UUID, int] = {}
    left = told
    while left:
        part = spread(left, by_environment, ends, most)
        assert part.positions
        assert len(part.deliveries) <= max(most, len(hearing))
        positions += part.positions
        deliveries += part.deliveries
        ends, left = dict(part.last_positions), left[len(part.positions) :]
    assert (positions, deliveries) == (list(whole.positions), list(whole.deliveries))
    for environment_id in by_environment:
        mine = [place for event, place in zip(told, positions, strict=True) if event.environment_id == environment_id]
        assert mine == list(range(1, len(mine) + 1))
    assert all(delivery.environment_id in by_environment for delivery in deliveries)


def test_a_lane_is_as_wide_as_answers_are_quick() -> None:
    """It doubles with each quick answer, is narrow for slow ones, and one wide where an attempt failed."""
    lanes = Lanes(3)
    widths = []
    for status, elapsed_ms in [(200, 1), (200, 1), (200, 1), (200, 1), (200, SLOW_MS), (200, 1), (500, 1), (200, 1)]:
        lanes.begin(ENVIRONMENT, ENDPOINT, 0, is_failing=False)
        lanes.learn(ENDPOINT, attempt(status, elapsed_ms=elapsed_ms))
        lanes.end(ENDPOINT, 0)
        widths.append(lanes.rooms(0)[ENDPOINT])
    assert widths == [4, 8, GREATEST_WIDTH, GREATEST_WIDTH, SLOW_WIDTH, 4, 1, 2]


def test_a_lane_has_room_for_what_is_not_under_way() -> None:
    """Never less than none; what is not used is forgotten after a while, what is in use never."""
    lanes = Lanes(3)
    for _ in range(FIRST_WIDTH):
        lanes.begin(ENVIRONMENT, ENDPOINT, 0, is_failing=False)
    assert lanes.rooms(0) == {ENDPOINT: 0}
    lanes.learn(ENDPOINT, attempt(500))
    assert lanes.rooms(2 * FORGOTTEN_MICROSECONDS) == {ENDPOINT: 0}
    for _ in range(FIRST_WIDTH):
        lanes.end(ENDPOINT, 0)
    assert lanes.rooms(FORGOTTEN_MICROSECONDS - 1) == {ENDPOINT: 1}
    assert lanes.rooms(FORGOTTEN_MICROSECONDS) == {}


def test_an_environment_has_its_share_of_the_slots() -> None:
    """Whatever its endpoints are; what is over makes room, and nothing is remembered of who has nothing under way."""
    lanes = Lanes(3)
    endpoints = [UUID(int=number) for number in range(4)]
    rooms = []
    for endpoint_id in endpoints:
        lanes.begin(ENVIRONMENT, endpoint_id, 0, is_failing=False)
        rooms.append(lanes.environment_rooms()[ENVIRONMENT])
    assert rooms == [2, 1, 0, 0]
    for endpoint_id in endpoints[1:]:
        lanes.end(endpoint_id, 0)
    assert lanes.environment_rooms() == {ENVIRONMENT: 2}
    lanes.end(endpoints[0], 0)
    assert lanes.environment_rooms() == {}
