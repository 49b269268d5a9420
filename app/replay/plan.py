"""What is to be sent for a trace: a function of the file alone, on every machine and in every run the same."""

from collections.abc import Iterator
from hashlib import sha256
from itertools import islice
from typing import Final

import msgspec

from app.replay.parsing import Row, Trace

INPUT_TOKENS: Final = "input_tokens"
OUTPUT_TOKENS: Final = "output_tokens"
FEATURES: Final = (INPUT_TOKENS, OUTPUT_TOKENS)
USERS: Final = 1000

_DIGEST_CHARACTERS: Final = 12
_HASH_BYTES: Final = 8


class UsageEvent(msgspec.Struct, frozen=True):
    """One event as the API takes it. Without a timestamp: it happens when it is sent."""

    end_user_id: str
    feature_key: str
    units: int
    idempotency_key: str


def end_user_id(row_number: int) -> str:
    """The user that a row belongs to: few are heavy, most are light.

    `user_` and floor(1000 · u³), where u = h / 2⁶⁴ and h is the first 8 bytes, big-endian, of the SHA-256 of the row
    number in decimal. In integers: floor(1000 · h³ / 2¹⁹²).
    """
    fraction = int.from_bytes(sha256(str(row_number).encode()).digest()[:_HASH_BYTES], "big")
    return f"user_{USERS * fraction**3 >> 3 * 8 * _HASH_BYTES}"


def plan_events(trace: Trace) -> Iterator[UsageEvent]:
    """Two events a row, one a feature, in the order of the rows; none for a feature of which the row used nothing."""
    prefix = trace.digest[:_DIGEST_CHARACTERS]
    for row in trace.rows:
        user = end_user_id(row.number)
        for feature_key, tokens in _usage(row):
            if tokens:
                yield UsageEvent(user, feature_key, tokens, f"{prefix}:{row.number}:{feature_key}")


def plan_batches(trace: Trace, size: int) -> Iterator[list[UsageEvent]]:
    """The same in lists of `size`; the last may be shorter."""
    events = plan_events(trace)
    while batch := list(islice(events, size)):
        yield batch


def count_events(trace: Trace) -> int:
    """How many events there are."""
    return sum(tokens > 0 for row in trace.rows for _, tokens in _usage(row))


def list_users(trace: Trace) -> list[str]:
    """Everybody who has a row, each once."""
    return sorted({end_user_id(row.number) for row in trace.rows})


def _usage(row: Row) -> tuple[tuple[str, int], ...]:
    return (INPUT_TOKENS, row.input_tokens), (OUTPUT_TOKENS, row.output_tokens)
