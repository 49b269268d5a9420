"""Where randomness comes from: ids, API keys."""

import secrets
from datetime import datetime
from uuid import UUID

from app.rules.moments import to_at
from app.wire.ids import uuid7
from app.wire.key_digest import ALPHABET, SECRET_LENGTH, make_key

_UUID7_RANDOM_BITS = 80
_REQUEST_ID_BYTES = 16


def new_id(now: datetime) -> UUID:
    """A new UUIDv7 that sorts by `now`."""
    return uuid7(to_at(now), secrets.randbits(_UUID7_RANDOM_BITS))


def new_api_key(kind: str) -> str:
    """A new API key of an environment of `kind` (sandbox | live). Shown once, never stored."""
    return make_key(kind, secrets.randbelow(len(ALPHABET) ** SECRET_LENGTH))


def new_request_id() -> str:
    """A name for a request that came without one."""
    return f"req_{secrets.token_hex(_REQUEST_ID_BYTES)}"
