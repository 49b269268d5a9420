"""What all processes must share.

Two processes that disagree must not run together: each compares the fingerprint at start.
"""

from hashlib import sha256
from typing import Literal

import msgspec

Durability = Literal["always", "everysec"]
"""How often Redis writes to its disk (`appendfsync`): before each answer, or once a second."""

PROTOCOL_VERSION = 1
"""Raised with any change to keys, scripts or entries that older processes cannot live with."""


class Agreement(msgspec.Struct, frozen=True):
    """Settings that are the same everywhere, for the life of the data."""

    partitions: int = 64
    idempotency_window_seconds: int = 86_400
    protocol_version: int = PROTOCOL_VERSION

    def fingerprint(self) -> bytes:
        """Readable and comparable: the values and a digest of them."""
        text = msgspec.json.encode(self)
        return text + b" " + sha256(text).hexdigest()[:12].encode()
