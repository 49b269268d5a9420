"""Who asks: from the API key of a request to the environment and scopes behind it.

A worker believes what Redis said of a key for half a second, so that a revoked one is refused within one. While Redis
cannot be asked it asks core, beside the requests that go on, and for a quarter of an hour it believes what it knew
where core does not answer either. A key that Redis does not have is asked of core, at a bounded rate, because anybody
can send keys that are well formed and were never issued; who sends many is not listened to.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from typing import Any
from uuid import UUID

import msgspec

from app.rules.addresses import Network
from app.rules.guesses import KEYS_AT_ONCE, KEYS_PER_SECOND, MAX_ADDRESSES, Attempts, Guesses, Seen
from app.rules.seldom import Seldom
from app.wire import key_digest, keys
from app.wire.codes import Code
from app.wire.forwarded import client_of
from app.wire.rates import Asker
from app.wire.scopes import Scope, allows
from app.wire.snapshot import ApiKeyRecord, decode_api_key
from edge.core_client import CoreClient
from edge.flights import Flights
from edge.rates import Meter, Rates
from edge.redis import Redis
from edge.redis_link import Reply, pack
from edge.refusals import Refusal, store_unavailable

FRESH_SECONDS = 0.5
BELIEVED_SECONDS = 15 * 60.0
"""While Redis cannot be asked. A key of which it said that it is unknown is not believed any more."""
MAX_KEYS = 10_000
MISSES_PER_SECOND = 20
MISSES_AT_ONCE = 100
"""Keys that a worker asks core for: on average, and where none were asked for a while."""

USE_NOTED_SECONDS = 60
DOUBT_SECONDS = 1
"""How often core is asked of a key while Redis cannot be."""

Start = Callable[[Coroutine[Any, Any, None]], None]
_BEARER = b"bearer "
_SECOND = 1_000_000


class Trust(msgspec.Struct, frozen=True):
    """What keys are looked up by, and whose word is taken for the address that a request came from."""

    pepper: bytes
    proxies: Sequence[Network]


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
    """The API keys that were used last. `start` runs what no request waits for."""

    def __init__(self, redis: Redis, core: CoreClient, rates: Rates, trust: Trust, start: Start) -> None:
        self._redis = redis
        self._rates = rates
        self._core = core
        self._trust = trust
        self._start = start
        self._known: OrderedDict[bytes, Principal] = OrderedDict()
        self._flights: Flights[bytes, Principal] = Flights()
        self._misses = Bucket(MISSES_PER_SECOND, MISSES_AT_ONCE)
        self._guesses = Guesses(Attempts(KEYS_PER_SECOND, KEYS_AT_ONCE, MAX_ADDRESSES), MAX_KEYS)
        self._noting = Seldom[UUID](USE_NOTED_SECONDS * _SECOND, MAX_KEYS)
        self._ended = Seen(MAX_KEYS)
        self._doubting = Seldom[bytes](DOUBT_SECONDS * _SECOND, MAX_KEYS)

    def known(self, headers: dict[bytes, bytes]) -> Principal | None:
        """Who asks, where that was looked up lately."""
        principal = self._known.get(_key_of(headers))
        return principal if principal is not None and principal.fresh_until > time.monotonic() else None

    async def find(self, headers: dict[bytes, bytes], peer: str) -> Principal:
        """Who asks from the address `peer`, looked up. Raises Refusal."""
        key = _key_of(headers)
        if not key:
            raise _unauthenticated("Send an API key: 'Authorization: Bearer qs_…' or 'X-API-Key: qs_…'.")
        text, forwarded_for = key.decode("latin-1"), headers.get(b"x-forwarded-for", b"").decode("latin-1")
        digest = key_digest.digest(self._trust.pepper, text)
        address, now = client_of(peer, forwarded_for, self._trust.proxies), time.monotonic_ns() // 1000
        if not self._guesses.allows(address, digest, now):
            raise Refusal(Code.TOO_MANY_REQUESTS, "Too many keys that are none came from this address; try again.")
        try:
            principal = await self._find(key, text, digest)
        except Refusal as refusal:
            if refusal.code is Code.UNAUTHENTICATED:
                self._known.pop(key, None)
                self._guesses.prove_wrong(address, digest, now)
            raise
        self._guesses.prove_right(digest)
        self._known.pop(key, None)
        if len(self._known) >= MAX_KEYS:
            self._known.popitem(last=False)
        self._known[key] = principal
        return principal

    async def _find(self, key: bytes, text: str, digest: bytes) -> Principal:
        if not key_digest.is_well_formed(text):
            raise _unauthenticated("This is no API key: it is cut short or mistyped.")
        return await self._flights.join(key, lambda: self._look_up(key, digest))

    async def _look_up(self, key: bytes, digest: bytes) -> Principal:
        asked = time.monotonic()
        try:
            record, answered = await self._read(key, digest)
        except Refusal as refusal:
            known = self._known.get(key)
            if known is None or not refusal.is_passing or known.believed_until <= asked or digest in self._ended:
                raise
            if self._doubting.is_due(digest, time.monotonic_ns() // 1000):
                self._start(self._doubt(digest))
            return known
        meter = self._rates.meter(Asker(keys.environment_ref(record.environment_id), record.key_id))
        principal = _principal(record, meter, answered)
        self._note_use(principal)
        return principal

    async def _read(self, key: bytes, digest: bytes) -> tuple[ApiKeyRecord, float]:
        """What Redis says of a key, and the monotonic second in which it was asked. Raises Refusal."""
        asked = time.monotonic()
        content = await self._redis.ask(b"GET", keys.api_key(digest))
        if content is None:
            # Redis that came back empty has lost every key: those that this worker knew are no guesses.
            if key not in self._known and not self._misses.take():
                raise Refusal(Code.TOO_MANY_REQUESTS, "Too many keys that are not known here; try again.")
            if await self._core.load_key(digest) == "found":
                raise store_unavailable("Core cannot reach Redis; try again.")
            asked = time.monotonic()
            content = await self._redis.ask(b"GET", keys.api_key(digest))
        if content is None or content == keys.UNKNOWN_KEY:
            raise _unauthenticated("This API key is not known: it was never issued, was revoked, or has expired.")
        return decode_api_key(content), asked

    async def _doubt(self, digest: bytes) -> None:
        """Ask core of a key that Redis cannot be asked of; where core does not answer either, it is believed on."""
        try:
            status = await self._core.load_key(digest)
        except Refusal:
            return
        if status == "unknown":
            self._ended.add(digest)

    def _note_use(self, principal: Principal) -> None:
        """Tell jobs that the key was used, about once a minute; what does not arrive is told by a later use."""
        used_at = time.time_ns() // 1000
        if self._noting.is_due(principal.key_id, used_at):
            member = keys.key_use(principal.environment_id, principal.key_id)
            self._redis.send(pack(b"ZADD", keys.KEY_USES, b"GT", used_at, member), _Unheeded())


class _Unheeded:
    """A reply that nobody waits for."""

    def received(self, reply: Reply) -> None:
        """It was done."""

    def failed(self, error: Exception) -> None:
        """It was not."""


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
        return authorization[len(_BEARER) :].strip() or headers.get(b"x-api-key", b"").strip()
    return headers.get(b"x-api-key", b"").strip()


def _unauthenticated(detail: str) -> Refusal:
    return Refusal(Code.UNAUTHENTICATED, detail)
