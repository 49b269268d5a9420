"""The hash chain that makes the ledger tamper-evident.

Every transaction's hash covers its predecessor's hash, its ids, amounts, times and lines, digests of its texts, and a
digest of the usage events that it posts with their draws. Whoever changes a row has to change every hash after it, and
whoever does that meets the checkpoints: a chain of their own, over the heads of the accounts' chains.
"""

from collections.abc import Iterable
from hashlib import sha256

import msgspec

GENESIS = bytes(32)
"""What the first transaction of an account follows."""

_encode = msgspec.msgpack.Encoder().encode


class ChainedTransaction(msgspec.Struct, frozen=True, array_like=True):
    """What a transaction's hash covers, in this order. Moments in microseconds; texts as digests."""

    environment_id: bytes
    account_id: bytes
    seq: int
    transaction_id: bytes
    kind: str
    actor_digest: bytes
    reason_digest: bytes | None
    idempotency_key_digest: bytes | None
    total_before_micro: int
    total_after_micro: int
    posted_at: int
    lines: list[tuple[str, int]]
    events_digest: bytes | None


class ChainedCheckpoint(msgspec.Struct, frozen=True, array_like=True):
    """What a checkpoint's hash covers, in this order. `day` as `2026-01-31`, `taken_at` in microseconds."""

    environment_id: bytes
    day: str
    taken_at: int
    accounts: int
    transactions: int
    digest: bytes


class ChainedHead(msgspec.Struct, frozen=True, array_like=True):
    """The head of an account's chain, as the digest of a checkpoint covers it."""

    account_id: bytes
    seq: int
    hash: bytes


class ChainedEvent(msgspec.Struct, frozen=True, array_like=True):
    """What the digest of a transaction's events covers of each one. `draws` as the event's row keeps it."""

    event_id: bytes
    feature_key: str
    units_micro: int
    cost_micro: int
    debt_micro: int
    price_id: bytes
    occurred_at: int
    accepted_at: int
    draws: str
    properties_digest: bytes | None
    idempotency_key_digest: bytes | None


class ChainedReservation(msgspec.Struct, frozen=True, array_like=True):
    """What the digest of its opening covers of a reservation: all that never changes of it. `draws` as in its row."""

    reservation_id: bytes
    feature_key: str
    in_credits: bool
    units_micro: int
    reserved_micro: int
    debt_micro: int
    draws: str
    price_id: bytes
    period_at: int | None
    opened_at: int
    properties_digest: bytes | None
    idempotency_key_digest: bytes | None


def text_digest(text: str | None) -> bytes | None:
    """A text stands in the chain by its digest, so that erasing a profile breaks nothing."""
    return None if text is None else sha256(text.encode()).digest()


class RunningDigest:
    """A digest over events, or over heads, that are added one by one: events by id, heads by account id."""

    def __init__(self) -> None:
        self._digest = sha256()

    def add(self, part: ChainedEvent | ChainedHead) -> None:
        """Cover one more."""
        self._digest.update(_encode(part))

    def value(self) -> bytes:
        """The digest of all that were added."""
        return self._digest.digest()


def events_digest(events: Iterable[ChainedEvent]) -> bytes:
    """One digest for all events of a transaction, whatever order they come in."""
    digest = RunningDigest()
    for event in sorted(events, key=lambda event: event.event_id):
        digest.add(event)
    return digest.value()


def reservation_digest(reservation: ChainedReservation) -> bytes:
    """The digest that an opening's transaction carries in the place of its events'."""
    return sha256(_encode(reservation)).digest()


def transaction_hash(previous_hash: bytes, transaction: ChainedTransaction) -> bytes:
    """SHA-256 of the predecessor's hash and the transaction."""
    return sha256(previous_hash + _encode(transaction)).digest()


def checkpoint_hash(previous_hash: bytes, checkpoint: ChainedCheckpoint) -> bytes:
    """SHA-256 of the hash of the environment's checkpoint before it (GENESIS for the first) and the checkpoint."""
    return sha256(previous_hash + _encode(checkpoint)).digest()
