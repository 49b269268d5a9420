"""Where randomness comes from: ids, API keys."""

import secrets
from datetime import datetime
from uuid import UUID

from app.rules.moments import to_at
from app.wire.ids import uuid7
from app.wire.key_digest import ALPHABET, SECRET_LENGTH, make_key

_UUID7_RANDOM_BITS = 80
_REQUEST_ID_BYTES = 16


class _Ids:
    """UUIDv7 that sort in the order in which this process made them, within a millisecond too."""

    def __init__(self) -> None:
        self._newest = UUID(int=0)

    def new(self, now: datetime) -> UUID:
        made = uuid7(to_at(now), secrets.randbits(_UUID7_RANDOM_BITS))
        is_same_millisecond = made.int >> _UUID7_RANDOM_BITS == self._newest.int >> _UUID7_RANDOM_BITS
        if is_same_millisecond and made < self._newest:
            made = UUID(int=self._newest.int + 1)
        self._newest = made
        return made


_ids = _Ids()


def new_id(now: datetime) -> UUID:
    """A new UUIDv7. It sorts by `now`, and within its millisecond after those that this process made before."""
    return _ids.new(now)


def new_api_key(kind: str) -> str:
    """A new API key of an environment of `kind` (sandbox | live). Shown once, never stored."""
    return make_key(kind, secrets.randbelow(len(ALPHABET) ** SECRET_LENGTH))


def new_request_id() -> str:
    """A name for a request that came without one."""
    return f"req_{secrets.token_hex(_REQUEST_ID_BYTES)}"
