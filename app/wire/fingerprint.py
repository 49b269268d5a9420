"""What was asked under an idempotency key, small enough to be remembered beside every answer.

Layout: one byte of flags, then 8 bytes of timestamp and 8 bytes of a digest of the properties, each only where its flag
is set, then units in as many bytes as they need. Units and timestamp are exact, so a differing one is always named.
Of a reservation the lifetime stands in the place of the timestamp, and credits in that of units.
"""

from hashlib import blake2b

ENFORCE = 1
TIMESTAMP = 2
PROPERTIES = 4
CREDITS = 8
_WORD = 8


def usage_fingerprint(units_micro: int, timestamp_at: int | None, properties: bytes | None, *, enforce: bool) -> bytes:
    """The fingerprint of a usage event; `properties` are the bytes that were sent, `timestamp_at` microseconds."""
    flags = ENFORCE if enforce else 0
    tail = b""
    if timestamp_at is not None:
        flags |= TIMESTAMP
        tail = timestamp_at.to_bytes(_WORD, signed=True)
    if properties is not None:
        flags |= PROPERTIES
        tail += blake2b(properties, digest_size=_WORD).digest()
    return bytes((flags,)) + tail + units_micro.to_bytes((units_micro.bit_length() + 7) // 8)


def reservation_fingerprint(
    amount_micro: int, ttl_seconds: int, properties: bytes | None, *, in_credits: bool
) -> bytes:
    """The fingerprint of the opening of a reservation; `amount_micro` are units or credits."""
    usage = usage_fingerprint(amount_micro, ttl_seconds, properties, enforce=False)
    return bytes((usage[0] | (CREDITS if in_credits else 0),)) + usage[1:]


def reservation_mismatch(stored: bytes, sent: bytes) -> list[str]:
    """Names of the fields that differ between the fingerprints of two openings."""
    if (stored[0] ^ sent[0]) & CREDITS:
        return ["units", "credits"]
    names = {"units": "credits" if sent[0] & CREDITS else "units", "timestamp": "ttl_seconds"}
    return [names.get(name, name) for name in mismatch(stored, sent)]


def mismatch(stored: bytes, sent: bytes) -> list[str]:
    """Names of the fields that differ between two usage fingerprints, in the order of the body."""
    before, now = _fields(stored), _fields(sent)
    return [name for name in before if before[name] != now[name]]


def _fields(fingerprint: bytes) -> dict[str, bytes | bool | None]:
    flags, rest = fingerprint[0], fingerprint[1:]
    timestamp = properties = None
    if flags & TIMESTAMP:
        timestamp, rest = rest[:_WORD], rest[_WORD:]
    if flags & PROPERTIES:
        properties, rest = rest[:_WORD], rest[_WORD:]
    return {"units": rest, "timestamp": timestamp, "properties": properties, "enforce": bool(flags & ENFORCE)}
