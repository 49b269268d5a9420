"""Ids made in the app: UUIDv7 (RFC 9562) from a time and random bits, UUIDv8 derived from a scope and a key.

Outside, an id is a readable prefix, an underscore and 32 hexadecimal digits: `sub_0190…`.
"""

import re
from hashlib import blake2b
from uuid import UUID

_VERSION_MASK = ~(0xF << 76)
_VARIANT_MASK = ~(0x3 << 62)
_VARIANT = 0x2 << 62
_SHOWN = re.compile(r"([a-z]+)_([0-9a-f]{32})")


class MalformedId(ValueError):
    """The text is not an id with the prefix that belongs here."""


def uuid7(at: int, random_bits: int) -> UUID:
    """Sorts by `at` (microseconds since the epoch; milliseconds are kept); `random_bits` gives 74 bits."""
    value = (at // 1000 & (1 << 48) - 1) << 80 | random_bits & (1 << 80) - 1
    return UUID(int=value & _VERSION_MASK & _VARIANT_MASK | 0x7 << 76 | _VARIANT)


def derived_id(*scope: bytes) -> UUID:
    """The same id for the same scope, for ever (UUIDv8). Parts must hold no zero byte."""
    value = int.from_bytes(blake2b(b"\0".join(scope), digest_size=16).digest())
    return UUID(int=value & _VERSION_MASK & _VARIANT_MASK | 0x8 << 76 | _VARIANT)


def in_partition(value: UUID, partition: int) -> UUID:
    """The id with its first 12 bits saying whose partition it belongs to, so that the id alone finds it."""
    return UUID(int=value.int & (1 << 116) - 1 | partition << 116)


def partition_in(value: UUID) -> int:
    """The partition that an id of `in_partition` names."""
    return value.int >> 116


def show(prefix: str, value: UUID) -> str:
    """The id as clients see it."""
    return f"{prefix}_{value.hex}"


def parse(prefix: str, text: str) -> UUID:
    """The id behind what a client sent; raises MalformedId."""
    found = _SHOWN.fullmatch(text)
    if found is None or found[1] != prefix:
        raise MalformedId(f"must be '{prefix}_' and 32 hexadecimal digits")
    return UUID(hex=found[2])
