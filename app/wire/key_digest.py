"""API keys: `qs_test_` or `qs_live_`, 32 random base62 characters (190.5 bits), a CRC32 tail that finds typing errors.

At rest only HMAC-SHA256 under a pepper is kept, so a stolen table is of no use without the pepper.
"""

import hmac
from hashlib import sha256
from zlib import crc32

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SECRET_LENGTH = 32
CHECKSUM_LENGTH = 6
PREFIXES = {"sandbox": "qs_test_", "live": "qs_live_"}
KEY_LENGTH = len("qs_test_") + SECRET_LENGTH + CHECKSUM_LENGTH
_KINDS = {prefix: kind for kind, prefix in PREFIXES.items()}


def _base62(number: int, length: int) -> str:
    digits: list[str] = []
    for _ in range(length):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


def make_key(kind: str, random_number: int) -> str:
    """A key of an environment of `kind` (sandbox | live). `random_number` must be uniform below 62^32."""
    body = PREFIXES[kind] + _base62(random_number, SECRET_LENGTH)
    return body + _checksum(body)


def _checksum(body: str) -> str:
    return _base62(crc32(body.encode()), CHECKSUM_LENGTH)


def is_well_formed(key: str) -> bool:
    """Whether the text can be a key at all; says nothing about whether it was ever issued."""
    return (
        len(key) == KEY_LENGTH
        and key[:8] in _KINDS
        and key.isascii()
        and hmac.compare_digest(key[-CHECKSUM_LENGTH:].encode(), _checksum(key[:-CHECKSUM_LENGTH]).encode())
    )


def digest(pepper: bytes, key: str) -> bytes:
    """What is stored in place of the key: 32 bytes."""
    return hmac.new(pepper, key.encode(), sha256).digest()
