"""One environment with one feature that costs a credit a unit, and accounts as the edge is told of them."""

from collections.abc import Mapping
from uuid import UUID, uuid4

from app.rules.credits import MICRO
from app.rules.entitlement import OveragePolicy
from app.rules.moments import NEVER_AT
from app.rules.pricing import PerUnitPrice, always
from app.wire import keys
from app.wire.snapshot import FeatureTerms, PlanSnapshot, encode_plan

FEATURE = "api_calls"
COST_MICRO = MICRO
"""Of one event of one unit."""
GRANT_MICRO = 10**9 * MICRO
"""What every account begins with: more than any run takes."""
FIRST_REVISION = 1
SUBSCRIPTION_STATUS = "active"


class Catalogue:
    """An environment, its price, and the snapshot of its one plan."""

    def __init__(self) -> None:
        self.environment_id: UUID = uuid4()
        self.environment_ref = keys.environment_ref(self.environment_id)
        self.price_id: UUID = uuid4()
        terms = FeatureTerms(
            always(self.price_id, PerUnitPrice(COST_MICRO)), included=True, overage_policy=OveragePolicy.BLOCK
        )
        plan = PlanSnapshot(self.environment_id, subscribed=True, features={FEATURE: terms})
        self.snapshot_id, self.snapshot = encode_plan(plan)

    def ref(self, end_user_id: str) -> bytes:
        """The customer's name in Redis."""
        return keys.account_ref(self.environment_ref, end_user_id)

    def account_hash(self) -> Mapping[bytes, str | int]:
        """An account in Redis as it is after its grant, before any usage."""
        return {
            b"revision": FIRST_REVISION,
            b"base": GRANT_MICRO,
            b"applied": 0,
            b"accepted": 0,
            b"last_at": 0,
            b"last_id": "0-0",
            b"valid_until": NEVER_AT,
            b"ticked": 0,
            b"snapshot": self.snapshot_id,
            b"status": SUBSCRIPTION_STATUS,
            b"floor": 0,
        }
