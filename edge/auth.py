"""Who asks: from the API key of a request to the environment and scopes behind it.

A worker believes what Redis said of a key for one second, and for a quarter of an hour while Redis cannot be asked. A
key that Redis does not have is asked of core, at a bounded rate, because anybody can send keys that are well formed and
were never issued.
"""

import time
from collections import OrderedDict
from uuid import UUID

import msgspec

from app.wire import key_digest, keys
from app.wire.codes import Code
from app.wire.rates import Asker
from app.wire.scopes import Scope, allows
from app.wire.snapshot import ApiKeyRecord, decode_api_key
from edge.core_client import CoreClient
from edge.flights import Flights
from edge.rates import Meter, Rates
from edge.redis import Redis
from edge.refusals import Refusal

FRESH_SECONDS = 1.0
BELIEVED_SECONDS = 15 * 60.0
"""While Redis cannot be asked. A key of which it said that it is unknown is not believed any more."""
MAX_KEYS = 10_000
MISSES_PER_SECOND = 20
MISSES_AT_ONCE = 100
"""Keys that a worker asks core for: on average, and where none were asked for a while."""

_BEARER = b"bearer "


class Principal(msgspec.Struct, frozen=True):
    """What a request may do, and in which environment."""

    key_id: UUID
    environment_id: UUID
    environment_ref: bytes
    meter: Meter
    """Its requests are counted."""
    scopes: frozenset[str]
    fresh_until: float
    """Monotonic seconds."""
    believed_until: float
    """The same, while Redis cannot be asked."""

    def require(self, scope: Scope) -> None:
        """Raises Refusal unless the key has the scope."""
        if not allows(self.scopes, scope):
            raise Refusal(Code.MISSING_SCOPE, f"This API key lacks the scope {scope.value}, which this route needs.")


class Bucket:
    """Lets `per_second` through on average, and up to `at_once` after a pause."""

    def __init__(self, per_second: float, at_once: int) -> None:
        self._per_second = per_second
        self._at_once = at_once
        self._left = float(at_once)
        self._filled = time.monotonic()

    def take(self) -> bool:
        """Whether one more may pass now."""
        now = time.monotonic()
        self._left = min(self._at_once, self._left + (now - self._filled) * self._per_second)
        self._filled = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Keys:
    """The API keys that were used last."""

    def __init__(self, redis: Redis, core: CoreClient, rates: Rates, pepper: bytes) -> None:
        self._redis = redis
        self._rates = rates
        self._core = core
        self._pepper = pepper
        self._known: OrderedDict[bytes, Principal] = OrderedDict()
        self._flights: Flights[bytes, Principal] = Flights()
        self._misses = Bucket(MISSES_PER_SECOND, MISSES_AT_ONCE)

    def known(self, headers: dict[bytes, bytes]) -> Principal | None:
        """Who asks, where that was looked up within the last second."""
        principal = self._known.get(_key_of(headers))
        return principal if principal is not None and principal.fresh_until > time.monotonic() else None

    async def find(self, headers: dict[bytes, bytes]) -> Principal:
        """Who asks, looked up. Raises Refusal."""
        key = _key_of(headers)
        if not key:
            raise _unauthenticated("Send an API key: 'Authorization: Bearer qs_…' or 'X-API-Key: qs_…'.")
        text = key.decode("latin-1")
        if not key_digest.is_well_formed(text):
            raise _unauthenticated("This is no API key: it is cut short or mistyped.")
        principal = await self._flights.join(key, lambda: self._look_up(key, text))
        self._known.pop(key, None)
        if len(self._known) >= MAX_KEYS:
            self._known.popitem(last=False)
        self._known[key] = principal
        return principal

    async def _look_up(self, key: bytes, text: str) -> Principal:
        digest = key_digest.digest(self._pepper, text)
        asked = time.monotonic()
        try:
            content = await self._redis.ask(b"GET", keys.api_key(digest))
        except Refusal:
            known = self._known.get(key)
            if known is None or known.believed_until <= asked:
                raise
            return known
        if content == keys.UNKNOWN_KEY:
            self._known.pop(key, None)
        if content is None:
            # Redis that came back empty has lost every key: those that this worker knew are no guesses.
            if key not in self._known and not self._misses.take():
                raise Refusal(Code.TOO_MANY_REQUESTS, "Too many keys that are not known here; try again.")
            await self._core.load_key(digest)
            asked = time.monotonic()
            content = await self._redis.ask(b"GET", keys.api_key(digest))
        if content is None or content == keys.UNKNOWN_KEY:
            raise _unauthenticated("This API key is not known: it was never issued, or it was revoked.")
        record = decode_api_key(content)
        meter = self._rates.meter(Asker(keys.environment_ref(record.environment_id), record.key_id))
        return _principal(record, meter, asked)


def _principal(record: ApiKeyRecord, meter: Meter, asked: float) -> Principal:
    """Who that is, and for how long, as of the monotonic second in which Redis was asked. Raises Refusal."""
    left_seconds = BELIEVED_SECONDS
    if record.expires_at is not None:
        left_seconds = min(left_seconds, (record.expires_at - time.time_ns() // 1000) / 1_000_000)
    if left_seconds <= 0:
        raise _unauthenticated("This API key has expired.")
    return Principal(
        record.key_id,
        record.environment_id,
        keys.environment_ref(record.environment_id),
        meter,
        record.scopes,
        asked + min(FRESH_SECONDS, left_seconds),
        asked + left_seconds,
    )


def _key_of(headers: dict[bytes, bytes]) -> bytes:
    """The API key of a request; a Bearer token goes before X-API-Key, any other Authorization is not for us."""
    authorization = headers.get(b"authorization")
    if authorization is not None and authorization[: len(_BEARER)].lower() == _BEARER:
        return authorization[len(_BEARER) :].strip()
    return headers.get(b"x-api-key", b"").strip()


def _unauthenticated(detail: str) -> Refusal:
    return Refusal(Code.UNAUTHENTICATED, detail)
