"""Plan snapshots, kept in the worker: they are named by their content, so what was read once is right for ever."""

from collections import OrderedDict
from uuid import UUID

import msgspec

from app.rules.entitlement import FeatureKind, Reason, refusal_of_access
from app.wire import keys
from app.wire.codes import Code
from app.wire.snapshot import FeatureTerms, decode_plan
from edge.core_client import CoreClient
from edge.redis import Redis
from edge.refusals import Refusal

MAX_PLANS = 4096


class Offer(msgspec.Struct, frozen=True):
    """One feature of a snapshot: its terms, and what follows from the snapshot alone."""

    terms: FeatureTerms
    refusal: Reason | None
    """Why it may not be used."""
    value: msgspec.Raw | None
    """What a check shows: whether a switch is on, and the value of a static feature where it may be used."""
    limit: int | None
    """Cap of a gauge; None = there is none."""

    @property
    def is_gauge(self) -> bool:
        """Whether what is held of it has to be looked at."""
        return self.terms.kind is FeatureKind.GAUGE


Plan = dict[str, Offer]
"""The features of a snapshot by key; one that is not there is unknown."""


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
    snapshot = decode_plan(content)
    return {key: _offer(terms, refusal_of_access(snapshot.access(key))) for key, terms in snapshot.features.items()}


def _offer(terms: FeatureTerms, refusal: Reason | None) -> Offer:
    value, limit = None, None
    match terms.kind:
        case FeatureKind.BOOLEAN:
            value = msgspec.Raw(b"true" if refusal is None else b"false")
        case FeatureKind.STATIC if refusal is None and terms.value is not None:
            value = msgspec.Raw(terms.value.encode())
        case FeatureKind.GAUGE if terms.value is not None:
            limit = msgspec.json.decode(terms.value, type=int | None)
        case _:
            pass
    return Offer(terms, refusal, value, limit)
