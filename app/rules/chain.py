"""The hash chain that makes the ledger tamper-evident.

Every transaction's hash covers its predecessor's hash, its ids, amounts, times and lines, digests of its texts, and a
digest of the usage events that it posts with their draws. Whoever changes a row has to change every hash after it.
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


def text_digest(text: str | None) -> bytes | None:
    """A text stands in the chain by its digest, so that erasing a profile breaks nothing."""
    return None if text is None else sha256(text.encode()).digest()


def events_digest(events: Iterable[ChainedEvent]) -> bytes:
    """One digest for all events of a transaction, whatever order they come in."""
    digest = sha256()
    for event in sorted(events, key=lambda event: event.event_id):
        digest.update(_encode(event))
    return digest.digest()


def transaction_hash(previous_hash: bytes, transaction: ChainedTransaction) -> bytes:
    """SHA-256 of the predecessor's hash and the transaction."""
    return sha256(previous_hash + _encode(transaction)).digest()
