"""Plan snapshots, kept in the worker: they are named by their content, so what was read once is right for ever."""

from collections import OrderedDict
from uuid import UUID

import msgspec

from app.rules.entitlement import refusal_of_access
from app.wire import keys
from app.wire.codes import Code
from app.wire.snapshot import PlanSnapshot, decode_plan
from edge.charging import Offer
from edge.core_client import CoreClient
from edge.redis import Redis
from edge.refusals import Refusal

MAX_PLANS = 4096


class Plan(dict[str, Offer]):
    """The features of a snapshot by key; one that is not there is unknown."""

    def __init__(self, snapshot: PlanSnapshot) -> None:
        super().__init__(
            {key: Offer(terms, refusal_of_access(snapshot.access(key))) for key, terms in snapshot.features.items()}
        )
        self.event_types = snapshot.event_types
        self.gauges = [key for key, offer in self.items() if offer.is_gauge]


class Plans:
    """The snapshots that were used last, by id as Redis gives it."""

    def __init__(self, redis: Redis, core: CoreClient) -> None:
        self._redis = redis
        self._core = core
        self._known: OrderedDict[bytes, Plan] = OrderedDict()

    def get(self, snapshot_id: bytes) -> Plan | None:
        """The snapshot, where this worker has it."""
        return self._known.get(snapshot_id)

    async def load(self, environment_id: UUID, snapshot_id: bytes) -> None:
        """Fetch a snapshot from Redis, or have core put it there first. Raises Refusal where nobody has it."""
        name = snapshot_id.decode()
        content = await self._redis.ask(b"GET", keys.plan(name))
        if content is None:
            await self._core.load_plan(environment_id, name)
            content = await self._redis.ask(b"GET", keys.plan(name))
        if content is None:
            raise Refusal(Code.ACCOUNT_UNAVAILABLE, f"The plan snapshot {name} cannot be found; try again.")
        if len(self._known) >= MAX_PLANS:
            self._known.popitem(last=False)
        self._known[snapshot_id] = _plan(content)


def _plan(content: bytes) -> Plan:
    try:
        return Plan(decode_plan(content))
    except msgspec.ValidationError:  # of another version: what is published of the account next names one of this
        raise Refusal(Code.ACCOUNT_UNAVAILABLE, "The customer's plan is being published anew; try again.") from None
