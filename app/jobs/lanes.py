"""How many attempts at each endpoint may be under way at once: more where answers come quickly, one where none does.

All endpoints of an environment together have a share of the slots, so that whatever they do, others have theirs. It is
this process's own view: it begins narrow, and what it has not used for a while it forgets.
"""

from collections import Counter
from collections.abc import Mapping
from uuid import UUID

from app.webhooks.deciding import Attempt

FIRST_WIDTH = 2
"""Of an endpoint of which nothing is known: a hundred that hang must not take every slot before that is seen."""
GREATEST_WIDTH = 16
SLOW_WIDTH = 2
SLOW_MS = 1_000
"""What takes longer is slow: it holds a slot in which others would have had many turns."""
FORGOTTEN_MICROSECONDS = 60_000_000


class _Lane:
    def __init__(self, environment_id: UUID) -> None:
        self.environment_id = environment_id
        self.width = FIRST_WIDTH
        self.under_way = 0
        self.used_at = 0


class Lanes:
    """The endpoints at which something is under way, or was lately."""

    def __init__(self, environment_slots: int) -> None:
        self._environment_slots = environment_slots
        self._lanes: dict[UUID, _Lane] = {}
        self._under_way = Counter[UUID]()
        """By environment."""

    def rooms(self, at: int) -> Mapping[UUID, int]:
        """How many more attempts there may be, by endpoint; FIRST_WIDTH of those that are not in it."""
        old = at - FORGOTTEN_MICROSECONDS
        self._lanes = {key: lane for key, lane in self._lanes.items() if lane.under_way or lane.used_at > old}
        return {key: max(0, lane.width - lane.under_way) for key, lane in self._lanes.items()}

    def environment_rooms(self) -> Mapping[UUID, int]:
        """How many more attempts there may be, by environment; all of its slots where it is not in it."""
        return {key: max(0, self._environment_slots - count) for key, count in self._under_way.items()}

    def begin(self, environment_id: UUID, endpoint_id: UUID, at: int, *, is_failing: bool) -> None:
        """A queue of the endpoint was taken."""
        lane = self._lanes.setdefault(endpoint_id, _Lane(environment_id))
        lane.under_way += 1
        self._under_way[environment_id] += 1
        lane.used_at = at
        if is_failing:
            lane.width = 1

    def learn(self, endpoint_id: UUID, attempt: Attempt) -> None:
        """See how an attempt went."""
        lane = self._lanes[endpoint_id]
        if not attempt.went_well:
            lane.width = 1
        elif attempt.elapsed_ms >= SLOW_MS:
            lane.width = SLOW_WIDTH
        else:
            lane.width = min(GREATEST_WIDTH, 2 * lane.width)

    def end(self, endpoint_id: UUID, at: int) -> None:
        """Nothing more is done with a queue of the endpoint."""
        lane = self._lanes[endpoint_id]
        lane.under_way -= 1
        lane.used_at = at
        self._under_way[lane.environment_id] -= 1
        if not self._under_way[lane.environment_id]:
            del self._under_way[lane.environment_id]
