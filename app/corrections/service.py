"""Finding what is to be corrected, and saying what a correction would do."""

from collections.abc import Awaitable, Callable
from uuid import UUID

import msgspec

from app.corrections import store
from app.corrections.deciding import DETAILS
from app.errors import ServiceError
from app.io.clock import Clock
from app.io.pauses import pauses
from app.io.postgres import Database, Transaction
from app.io.redis import RedisStore
from app.ledger import reading
from app.ledger import store as ledger_store
from app.ledger.book import Account, Lines
from app.ledger.reading import Rejection
from app.ledger.targets import Targets
from app.orders.outcomes import Refused
from app.orders.service import Orders
from app.orders.store import CarriedOut, Posted
from app.rules.credits import from_micro
from app.rules.moments import to_at
from app.tenants import store as tenants_store
from app.wire.codes import Code
from app.wire.orders import Correction, VoidGrant, VoidUsage

POSTING_SECONDS = 2.0
"""How long an event that is to be voided may still be on its way to the ledger."""


class Previewed(msgspec.Struct, frozen=True):
    """What an order would do now: the transaction that it would be, after what is due is posted."""

    kind: str
    total_before_micro: int
    total_after_micro: int
    lines: Lines


Preview = Callable[[Transaction, Account, Correction, Targets, int], Awaitable[Previewed | Refused]]
"""What the flusher would do with an order, the next entry of the account's stream, at a moment."""


class Corrections:
    """Corrects for core."""

    def __init__(self, database: Database, redis: RedisStore, clock: Clock, orders: Orders, preview: Preview) -> None:
        self._database = database
        self._redis = redis
        self._clock = clock
        self._preview = preview
        self.orders = orders

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

    async def preview(self, tx: Transaction, account_id: UUID, order: Correction) -> Previewed:
        """What the order would do now to what is posted; decided as the order itself would be.

        Raises ServiceError as a refused order does.
        """
        account = await ledger_store.lock_account(tx, tx.environment, account_id)
        if account is None:
            raise ServiceError(Code.UNKNOWN_CUSTOMER, "The customer has no account.")
        targets = await store.read_targets(tx, [(account, order)])
        now = await tenants_store.read_frozen_at(tx) or self._clock.now()
        at = max(to_at(now), account.posted_at)
        found = await self._preview(tx, account, order, targets, at)
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
    context = {}
    if code is Code.GRANT_SPENT:
        context = {"spent": from_micro(amount_micro)}
    elif code is Code.INSUFFICIENT_CREDITS:
        context = {"available": from_micro(amount_micro)}
    return ServiceError(code, DETAILS[code], context=context)
