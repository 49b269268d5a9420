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
from app.rules import chain
from app.rules.burndown import Block
from app.rules.credits import MAX_BALANCE_MICRO
from app.rules.moments import NEVER_AT, to_at
from app.trail import dirty
from app.wire.codes import Code

MAX_LIVE_BLOCKS = 1_000
"""Blocks with credit left that an account may hold: every posting looks at all of them."""


class GrantRequest(msgspec.Struct, frozen=True):
    """Credit to be added. `expires_at` None = never; `paid` blocks are spent after free ones of the same rank.

    `kind` is the one of its transaction: grant or adjustment.
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


class GrantedBlock(msgspec.Struct, frozen=True):
    """The block that a grant made, its transaction, and the ledger's total after it."""

    block_id: UUID
    transaction_id: UUID
    total_micro: int


async def ensure_account(tx: Transaction, customer_id: UUID, end_user_id: str, now: datetime) -> UUID:
    """The customer's account, made where there is none; its id is the customer's."""
    await store.insert_account(tx, customer_id, end_user_id, chain.GENESIS, now)
    dirty.mark(tx, customer_id)
    return customer_id


async def grant(tx: Transaction, account_id: UUID, request: GrantRequest, now: datetime) -> GrantedBlock:
    """Post a grant and its block.

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
    if account.total_micro + request.amount_micro > MAX_BALANCE_MICRO:
        raise ServiceError(Code.BALANCE_OUT_OF_RANGE, "the grant would lift the balance above 9007199254 credits")
    block = _block(request, account.revision + 1, now)
    lines = [(block_account(block.id), request.amount_micro), (f"issued:{request.source}", -request.amount_micro)]
    origin = Origin(request.actor, request.reason, request.idempotency_key)
    posted = account.post(request.kind, lines, to_at(now), origin)
    account.blocks.append(block)
    await store.insert_block(tx, account, block, request.source, request.notes)
    await store.insert_transactions(tx, [posted], now)
    await store.update_accounts(tx, [account])
    dirty.mark(tx, account_id)
    return GrantedBlock(block.id, posted.id, account.total_micro)


def check_moments(effective_at: datetime, expires_at: datetime | None, now: datetime) -> None:
    """Whether credit may be effective from the one moment until the other. Raises ServiceError(INVALID_VALUE).

    A block counts in the total that is published from its posting on, and everything that is published can be spent. So
    credit that becomes effective later must be posted then, in its place in the stream; until that is done, it is
    refused.
    """
    if expires_at is not None and expires_at <= now:
        raise invalid_value("expires_at", f"must be in the future, not {expires_at.isoformat()}")
    if expires_at is not None and to_at(expires_at) >= NEVER_AT:
        raise invalid_value("expires_at", "is too far away; leave it out for credit that never expires")
    if expires_at is not None and expires_at <= effective_at:
        raise invalid_value("expires_at", "must be after effective_at")
    if to_at(effective_at) < 0:
        raise invalid_value("effective_at", "is too long ago")
    if effective_at > now:
        message = "must not lie in the future: grant the credit when it is to become effective, or leave this out"
        raise invalid_value("effective_at", message)


def _block(request: GrantRequest, known_revision: int, now: datetime) -> Block:
    """`known_revision` is the one that this transaction raises the account to before it commits."""
    return Block(
        new_id(now),
        request.amount_micro,
        request.priority,
        request.paid,
        known_revision,
        to_at(request.effective_at),
        NEVER_AT if request.expires_at is None else to_at(request.expires_at),
        to_at(now),
    )
