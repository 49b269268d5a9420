"""Giving orders, and learning what became of them.

An order goes through the stream: the flusher carries it out after everything that was accepted before it, and writes
down what became of it. Its id follows from the request's idempotency key, so that whoever asks again, after whatever
crash, gives the same order and gets the same outcome.
"""

from collections.abc import Awaitable, Callable
from uuid import UUID

from app.errors import ServiceError
from app.io.clock import Clock
from app.io.ids import new_id
from app.io.pauses import pauses
from app.io.postgres import Database, Transaction
from app.io.redis import RedisStore
from app.orders import store
from app.orders.outcomes import digest_of
from app.orders.store import CarriedOut
from app.rules.moments import to_at
from app.wire import keys
from app.wire.codes import Code
from app.wire.ids import derived_id
from app.wire.orders import Order, encode_order

WAIT_SECONDS = 5.0
"""How long a request waits for the flusher; the order is carried out all the same."""
MAX_LOADS = 5
"""How often an account is loaded that is gone again when the order comes."""
LoadAccount = Callable[[UUID, str], Awaitable[str]]
"""Brings (environment, end user)'s account into Redis: 'loaded' | 'unknown' | 'busy'."""


async def is_done(tx: Transaction, order_id: UUID) -> bool:
    """Whether an order of this id was carried out or refused."""
    return bool(await store.find_known(tx, [(tx.environment, order_id)]))


class Orders:
    """Gives orders for core."""

    def __init__(self, database: Database, redis: RedisStore, clock: Clock, load_account: LoadAccount) -> None:
        self._database = database
        self._redis = redis
        self._clock = clock
        self._load_account = load_account

    def id_of(self, environment_id: UUID, route: str, key: str | None) -> UUID:
        """The id of the order that a request gives: the same for the same key."""
        if key is None:
            return new_id(self._clock.now())
        return derived_id(b"order", environment_id.hex.encode(), route.encode(), key.encode())

    async def give(self, environment_id: UUID, end_user_id: str, order: Order) -> CarriedOut:
        """Have an order carried out; what became of it, refused or not.

        Raises ServiceError unknown_customer, account_loading, or order_pending where nobody posts: then the same
        request under the same key finds out.
        """
        done = await self._read(environment_id, order)
        if done is not None:
            return done
        await self._append(environment_id, end_user_id, order)
        async for _ in pauses(WAIT_SECONDS):
            done = await self._read(environment_id, order)
            if done is not None:
                return done
        detail = "What was ordered is not posted yet, and will be. " + (
            "Ask again under the same Idempotency-Key."
            if order.idempotency_key
            else "Look at the customer's ledger before you ask again: without an Idempotency-Key it is another order."
        )
        raise ServiceError(Code.ORDER_PENDING, detail)

    async def _append(self, environment_id: UUID, end_user_id: str, order: Order) -> None:
        ref = keys.account_ref(keys.environment_ref(environment_id), end_user_id)
        content = encode_order(order)
        for _ in range(MAX_LOADS):
            if await self._redis.order(ref, to_at(self._clock.now()), content) != "miss":
                return
            outcome = await self._load_account(environment_id, end_user_id)
            if outcome == "unknown":
                raise ServiceError(Code.UNKNOWN_CUSTOMER, f"No customer has the end_user_id {end_user_id!r}.")
            if outcome != "loaded":
                break
        raise ServiceError(Code.ACCOUNT_LOADING, "The customer's account is being loaded; try again.")

    async def _read(self, environment_id: UUID, order: Order) -> CarriedOut | None:
        """What became of the order. Raises ServiceError where another one has its id, and so its key."""

        async def read(tx: Transaction) -> CarriedOut | None:
            return await store.read_order(tx, order.order_id)

        done = await self._database.run(environment_id, read)
        if done is not None and done.digest != digest_of(order):
            raise ServiceError(Code.IDEMPOTENCY_KEY_REUSED, "The Idempotency-Key was used for another order.")
        return done
