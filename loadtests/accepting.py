"""The call of the product's script that takes one event in, as the edge makes it."""

import time
from uuid import UUID

from app.rules.credits import MICRO
from app.wire import keys, scripts
from app.wire.agreement import Agreement
from app.wire.events import UsagePayload, encode_usage
from app.wire.fingerprint import usage_fingerprint
from app.wire.ids import derived_id
from loadtests.catalogue import COST_MICRO, FEATURE, Catalogue

STREAM_MAX_ENTRIES = 100_000_000
"""No run comes near it."""
NOTHING_COUNTED = ("", "", "", "", "")
"""No tiers, no other price to come, no feature and no units that are counted."""
KEY_PREFIX = "bench_2f1c64de_"
"""Before the number that makes an idempotency key unique; with its twelve digits as long as keys often are."""


def accept_call(
    catalogue: Catalogue, end_user_id: str, idempotency_key: str, seen_key: bytes | None = None
) -> list[bytes | str | int]:
    """Digest, keys and arguments for one unit of the feature; `seen_key` in place of the one that belongs to it."""
    agreement = Agreement()
    ref = catalogue.ref(end_user_id)
    partition = keys.partition_of(ref, agreement.partitions)
    event_id = _event_id(catalogue, end_user_id, idempotency_key)
    payload = UsagePayload(event_id, FEATURE, MICRO, catalogue.price_id, None, idempotency_key, None)
    script_keys = (
        keys.account(partition, ref),
        keys.stream(partition),
        seen_key or keys.seen(partition, ref[: keys.ENVIRONMENT_REF_LENGTH], event_id),
        keys.used(partition, ref),
    )
    fingerprint = usage_fingerprint(MICRO, None, None, enforce=False)
    return [
        *(scripts.ACCEPT.digest.decode(), len(script_keys), *script_keys),
        *(time.time_ns() // 1000, catalogue.snapshot_id, COST_MICRO, 0, "", fingerprint, ref, encode_usage(payload)),
        *(agreement.idempotency_window_seconds * 1000, STREAM_MAX_ENTRIES),
        *NOTHING_COUNTED,
    ]


def _event_id(catalogue: Catalogue, end_user_id: str, idempotency_key: str) -> UUID:
    """Derived as in the edge: evenly spread, as all ids are that the ledger's index gets."""
    scope = (end_user_id, "usage", FEATURE, idempotency_key)
    return derived_id(catalogue.environment_ref, *(part.encode() for part in scope))
