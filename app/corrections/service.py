"""Giving orders, and learning what became of them.

An order goes through the stream: the flusher carries it out after everything that was accepted before it, and writes
down what became of it. Its id follows from the request's idempotency key, so that whoever asks again, after whatever
crash, gives the same order and gets the same outcome.
"""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import msgspec

from app.corrections import store
from app.corrections.deciding import DETAILS, Refused, digest_of
from app.corrections.store import CarriedOut, Posted
from app.errors import ServiceError
from app.io.clock import Clock
from app.io.ids import new_id
from app.io.pauses import pauses
from app.io.postgres import Database, Transaction
from app.io.redis import RedisStore
from app.ledger import reading
from app.ledger import store as ledger_store
from app.ledger.book import Account, Lines
from app.ledger.reading import Rejection
from app.ledger.targets import Targets
from app.rules.credits import from_micro
from app.rules.moments import to_at
from app.wire import keys
from app.wire.codes import Code
from app.wire.ids import derived_id
from app.wire.orders import Order, VoidGrant, VoidUsage, encode_order

WAIT_SECONDS = 5.0
"""How long a request waits for the flusher; the order is carried out all the same."""
POSTING_SECONDS = 2.0
"""How long an event that is to be voided may still be on its way to the ledger."""
MAX_LOADS = 5
"""How often an account is loaded that is gone again when the order comes."""
LoadAccount = Callable[[UUID, str], Awaitable[str]]
"""Brings (environment, end user)'s account into Redis: 'loaded' | 'unknown' | 'busy'."""


class Previewed(msgspec.Struct, frozen=True):
    """What an order would do now: the transaction that it would be, after what is due is posted."""

    kind: str
    total_before_micro: int
    total_after_micro: int
    lines: Lines


Preview = Callable[[Account, Order, Targets, int], Previewed | Refused]
"""What the flusher would do with an order, the next entry of the account's stream, at a moment."""


class Orders:
    """Gives orders for core."""

    def __init__(
        self, database: Database, redis: RedisStore, clock: Clock, load_account: LoadAccount, preview: Preview
    ) -> None:
        self._database = database
        self._redis = redis
        self._clock = clock
        self._load_account = load_account
        self._preview = preview

    def id_of(self, environment_id: UUID, route: str, key: str | None) -> UUID:
        """The id of the order that a request gives: the same for the same key."""
        if key is None:
            return new_id(self._clock.now())
        return derived_id(b"order", environment_id.hex.encode(), route.encode(), key.encode())

    async def give(self, environment_id: UUID, end_user_id: str, order: Order) -> CarriedOut:
        """Have an order carried out; what became of it, refused or not.

        Raises ServiceError unknown_customer, account_loading, or correction_pending where nobody posts: then the same
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
        raise ServiceError(Code.CORRECTION_PENDING, detail)

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
            raise ServiceError(Code.IDEMPOTENCY_KEY_REUSED, "The Idempotency-Key was used for another correction.")
        return done

    async def find_account(self, environment_id: UUID, end_user_id: str) -> UUID:
        """The customer's account. Raises ServiceError unknown_customer."""

        async def read(tx: Transaction) -> UUID:
            return (await reading.read_figures(tx, end_user_id)).account_id

        return await self._database.run(environment_id, read)

    async def find_owner(self, environment_id: UUID, order: VoidUsage | VoidGrant) -> tuple[UUID, str]:
        """(account, end user) of what is to be voided; usage that was just accepted is waited for.

        Raises ServiceError not_found, or event_pending where nobody posts.
        """
        async for _ in pauses(POSTING_SECONDS):
            owner = await self._look_for_owner(environment_id, order)
            if owner is not None:
                return owner
        raise ServiceError(Code.EVENT_PENDING, "The event was accepted and is not posted yet. Ask again in a moment.")

    async def _look_for_owner(self, environment_id: UUID, order: VoidUsage | VoidGrant) -> tuple[UUID, str] | None:
        """None for an event that is on its way to the ledger. Raises ServiceError not_found."""
        event_id = order.event_id if isinstance(order, VoidUsage) else None
        block_id = order.block_id if isinstance(order, VoidGrant) else None

        async def read(tx: Transaction) -> tuple[tuple[UUID, str] | None, Rejection | None]:
            rejection = None if event_id is None else await reading.read_rejection(tx, event_id)
            return await store.find_owner(tx, event_id, block_id), rejection

        # Asked before the ledger: an event that is posted in between is then found there.
        is_pending = event_id is not None and await reading.is_pending(self._redis, environment_id, event_id)
        owner, rejection = await self._database.run(environment_id, read)
        if owner is None and rejection is not None:
            raise ServiceError(Code.NOT_FOUND, f"The event was accepted and could not be posted: {rejection.code}.")
        if owner is None and not is_pending:
            raise ServiceError(Code.NOT_FOUND, "Nothing of this id was posted in this environment.")
        return owner

    async def preview(self, tx: Transaction, account_id: UUID, order: Order) -> Previewed:
        """What the order would do now to what is posted; decided as the order itself would be.

        Raises ServiceError as a refused order does.
        """
        account = await ledger_store.lock_account(tx, tx.environment, account_id)
        if account is None:
            raise ServiceError(Code.UNKNOWN_CUSTOMER, "The customer has no account.")
        targets = await store.read_targets(tx, [(account, order)])
        found = self._preview(account, order, targets, max(to_at(self._clock.now()), account.posted_at))
        if isinstance(found, Refused):
            raise refusal(found.code, found.amount_micro)
        return found


def require_carried_out(done: CarriedOut) -> Posted:
    """What was posted. Raises ServiceError where the order was refused."""
    if done.posted is None:
        raise refusal(Code(done.code), done.amount_micro)
    return done.posted


def refusal(code: Code, amount_micro: int) -> ServiceError:
    """What a client is told of a refused order."""
    context: dict[str, Any] = {}
    if code is Code.GRANT_SPENT:
        context = {"spent": from_micro(amount_micro)}
    elif code is Code.INSUFFICIENT_CREDITS:
        context = {"available": from_micro(amount_micro)}
    return ServiceError(code, DETAILS[code], context=context)
