"""Putting end users on the environment's free plan when they are first seen, where it is set so.

However often and from wherever somebody is seen, there is one customer, since their name is unique, and one
subscription, since the order that makes it has an id of its own. Where core does not come to give it, jobs does
(app/jobs/enrol.py).
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from uuid import UUID

from app.customers import service as customers
from app.environments import service as environments
from app.errors import ServiceError
from app.io.clock import Clock
from app.io.postgres import Database, Transaction
from app.ledger import service as ledger
from app.orders.service import Orders
from app.tenants import store as tenants_store
from app.wire.codes import Code
from app.wire.ids import derived_id
from app.wire.orders import Subscribe

PER_SECOND = 50.0
"""Enrolments of one environment in one process of core, on average; whoever comes too early asks again."""
AT_ONCE = 500
MAX_ENVIRONMENTS = 10_000
"""Whose enrolments are counted at once."""
ACTOR = "auto_enroll"


class Enroller:
    """Enrols for core."""

    def __init__(
        self, database: Database, orders: Orders, clock: Clock, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._orders = orders
        self._clock = clock
        self._pace = Pace(monotonic)

    async def enroll(self, environment_id: UUID, end_user_id: str, *, is_paced: bool = False) -> bool:
        """Make the end user a customer on the free plan; False where the environment does not want that.

        Raises ServiceError: ACCOUNT_LOADING, ORDER_PENDING, and where it `is_paced` TOO_MANY_REQUESTS.
        """

        async def prepare(tx: Transaction) -> tuple[UUID, UUID] | None:
            settings = await environments.read_settings(tx)
            if not settings.auto_enroll or settings.free_variant_id is None:
                return None
            if is_paced:
                self._pace.take(environment_id)
            now = await tenants_store.read_frozen_at(tx) or self._clock.now()
            customer = await customers.ensure_customer(tx, end_user_id, now)
            await ledger.ensure_account(tx, customer.id, end_user_id, now)
            return customer.id, settings.free_variant_id

        prepared = await self._database.run(environment_id, prepare)
        if prepared is None:
            return False
        customer_id, variant_id = prepared
        try:
            await self._orders.give(environment_id, end_user_id, order_enrolment(customer_id, variant_id))
        except ServiceError as error:
            if error.code is not Code.IDEMPOTENCY_KEY_REUSED:
                raise  # else they were enrolled when another plan was the free one
        return True


def order_enrolment(customer_id: UUID, variant_id: UUID) -> Subscribe:
    """The order that puts a customer on the free plan, once for ever, whoever gives it."""
    order_id = derived_id(b"enroll", customer_id.hex.encode())
    return Subscribe(
        order_id=order_id,
        actor=ACTOR,
        subscription_id=derived_id(b"subscription", order_id.hex.encode()),
        variant_id=variant_id,
    )


class Pace:
    """Lets so many through in each environment: AT_ONCE after a pause, PER_SECOND on average.

    Who is refused costs the others nothing: what has come in since counts on, however small a part of one it is.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._left: OrderedDict[UUID, tuple[float, float]] = OrderedDict()
        """(what is left, as of when), those who came last at the end."""

    def take(self, environment_id: UUID) -> None:
        """One of the environment's. Raises ServiceError(TOO_MANY_REQUESTS)."""
        now = self._monotonic()
        left, at = self._left.pop(environment_id, (float(AT_ONCE), now))
        left = min(float(AT_ONCE), left + (now - at) * PER_SECOND)
        self._left[environment_id] = left - 1 if left >= 1 else left, now
        if len(self._left) > MAX_ENVIRONMENTS:
            self._left.popitem(last=False)
        if left < 1:
            raise ServiceError(Code.TOO_MANY_REQUESTS, "New end users come too fast to be enrolled; try again.")
