"""Adding credit.

Core only ever adds, and adding commutes with everything that is under way; what takes credit is an entry of the stream
and is posted by the flusher.
"""

from datetime import datetime
from uuid import UUID

import msgspec

from app.errors import ServiceError, invalid_value
from app.io.ids import new_id
from app.io.postgres import Transaction
from app.ledger import store
from app.ledger.book import NO_NOTES, BlockNotes, Origin, block_account
from app.ledger.book import Transaction as PostedTransaction
from app.rules import chain
from app.rules.burndown import Block, Rollover, Terms
from app.rules.credits import MAX_BALANCE_MICRO
from app.rules.moments import NEVER_AT, to_at
from app.trail import dirty
from app.web.fields import FIRST, LAST, require_ahead
from app.wire.codes import Code

MAX_LIVE_BLOCKS = 1_000
"""Blocks with credit left that an account may hold: every posting looks at all of them."""


class GrantRequest(msgspec.Struct, frozen=True):
    """Credit to be added. `expires_at` None = never; `paid` blocks are spent after free ones of the same rank.

    `kind` is the one of its transaction: grant or adjustment. With a cap, or where it becomes effective later, the
    flusher grants it at its moment: how much fits under a cap is known only in the order of the stream.
    """

    amount_micro: int
    source: str
    priority: int
    effective_at: datetime
    expires_at: datetime | None
    paid: bool
    actor: str
    reason: str | None = None
    idempotency_key: str | None = None
    kind: str = "grant"
    notes: BlockNotes = NO_NOTES
    cap_micro: int | None = None
    """What all blocks of the source may hold together after it."""
    rollover: Rollover | None = None

    def is_scheduled(self, now: datetime) -> bool:
        """Whether the flusher grants it, and not this very transaction."""
        return self.effective_at > now or self.cap_micro is not None

    @property
    def origin(self) -> Origin:
        """Who wants it, and why."""
        return Origin(self.actor, self.reason, self.idempotency_key)


class GrantedBlock(msgspec.Struct, frozen=True):
    """The block that a grant made, its transaction (None = it is scheduled), and the ledger's total after it."""

    block_id: UUID
    transaction_id: UUID | None
    total_micro: int


async def ensure_account(tx: Transaction, customer_id: UUID, end_user_id: str, now: datetime) -> UUID:
    """The customer's account, made where there is none; its id is the customer's."""
    await store.insert_account(tx, customer_id, end_user_id, chain.GENESIS, now)
    dirty.mark(tx, customer_id)
    return customer_id


async def grant(tx: Transaction, account_id: UUID, request: GrantRequest, now: datetime) -> GrantedBlock:
    """Post a grant and its block, or schedule it.

    Raises ServiceError(INVALID_VALUE) for moments that cannot be (see `check_moments`), (BALANCE_OUT_OF_RANGE) where
    the balance could no longer be kept exactly, (TOO_MANY_BLOCKS), (UNKNOWN_CUSTOMER) without an account.
    """
    check_moments(request.effective_at, request.expires_at, now)
    await dirty.hold_catalogue(tx)
    account = await store.lock_account(tx, tx.environment, account_id)
    if account is None:
        raise ServiceError(Code.UNKNOWN_CUSTOMER, "the customer has no account")
    if len(account.blocks) >= MAX_LIVE_BLOCKS:
        detail = f"The customer has {MAX_LIVE_BLOCKS} blocks with credit left. Grant less often, or larger amounts."
        raise ServiceError(Code.TOO_MANY_BLOCKS, detail)
    # What is reserved may come back.
    if account.total_micro + account.reserved_micro + request.amount_micro > MAX_BALANCE_MICRO:
        raise ServiceError(Code.BALANCE_OUT_OF_RANGE, "the grant would lift the balance above 9007199254 credits")
    block = _block(request, account.revision + 1, now)
    posted: list[PostedTransaction] = []
    if not block.is_scheduled:
        lines = [(block_account(block.id), request.amount_micro), (f"issued:{request.source}", -request.amount_micro)]
        posted = [account.post(request.kind, lines, to_at(now), request.origin)]
    account.blocks.append(block)
    tx.touches_ledger = True
    await store.insert_block(tx, account, block, request.notes)
    await store.insert_transactions(tx, posted, now)
    await store.update_accounts(tx, [account])
    dirty.mark(tx, account_id)
    return GrantedBlock(block.id, posted[0].id if posted else None, account.total_micro)


def check_moments(effective_at: datetime, expires_at: datetime | None, now: datetime) -> None:
    """Whether credit may be effective from the one moment until the other. Raises ServiceError(INVALID_VALUE)."""
    require_ahead("expires_at", expires_at, now, "leave it out for credit that never expires")
    if expires_at is not None and expires_at <= effective_at:
        raise invalid_value("expires_at", "must be after effective_at")
    if not 0 <= to_at(effective_at) < NEVER_AT:
        raise invalid_value("effective_at", f"must lie between {FIRST} and {LAST}")


def _block(request: GrantRequest, known_revision: int, now: datetime) -> Block:
    """`known_revision` is the one that this transaction raises the account to before it commits."""
    is_scheduled = request.is_scheduled(now)
    terms = None
    if is_scheduled or request.rollover is not None:
        origin = request.origin
        terms = Terms(origin.actor, origin.reason, origin.idempotency_key, request.cap_micro, request.rollover)
    return Block(
        new_id(now),
        request.amount_micro,
        request.priority,
        request.paid,
        known_revision,
        to_at(max(request.effective_at, now) if is_scheduled else request.effective_at),
        NEVER_AT if request.expires_at is None else to_at(request.expires_at),
        to_at(now),
        request.source,
        is_scheduled,
        terms,
        request.amount_micro,
    )
