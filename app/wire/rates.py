"""Rate limits, as every process knows them: how much there is in a window, how one asks for it, and how answers say so.

A window begins at a multiple of its length since the epoch, by the clock of whoever asks. In it an API key has so many
requests, and its environment so many in all. The fields are those of draft-ietf-httpapi-ratelimit-headers.
"""

from uuid import UUID

import msgspec

from app.wire import keys
from app.wire.ids import parse

AHEAD_SHARE = 50
"""Of what is left of a window, nobody is given more ahead of its requests than this part: a fiftieth."""
POLICY_FIELD = b"RateLimit-Policy"
STANDING_FIELD = b"RateLimit"
STANDING = b'"key";r=%d;t=%d, "tenant";r=%d;t=%d'
"""What is left of the key and seconds until there is more; the same of the environment."""
MICROSECONDS = 1_000_000
_EXCEPTION = "env_[0-9a-f]{32}=[1-9][0-9]{0,11}/[1-9][0-9]{0,11}"
EXCEPTIONS_PATTERN = f"^{_EXCEPTION}(,{_EXCEPTION})*$"
"""Environments with other limits: `env_…=<requests of a key>/<requests of all keys>`, and more after a comma."""


class RateLimits(msgspec.Struct, frozen=True):
    """Requests of one API key, and of all keys of one environment, in a window."""

    key_requests: int
    tenant_requests: int
    window_seconds: int

    def window_at(self, now_at: int) -> int:
        """When the window began that runs at this moment: seconds since the epoch."""
        return now_at // (self.window_seconds * MICROSECONDS) * self.window_seconds

    def seconds_left(self, now_at: int) -> int:
        """Seconds until the next window, 1 or more."""
        return self.window_seconds - (now_at // MICROSECONDS - self.window_at(now_at))

    def policy(self) -> bytes:
        """The value of `RateLimit-Policy`."""
        figures = (self.key_requests, self.window_seconds, self.tenant_requests, self.window_seconds)
        return b'"key";q=%d;w=%d, "tenant";q=%d;w=%d' % figures


class Allowances(msgspec.Struct, frozen=True):
    """The limits of every environment."""

    usual: RateLimits
    others: dict[bytes, RateLimits] = {}
    """By the environment's ref."""

    def of(self, environment: bytes) -> RateLimits:
        """Those of one, by its ref."""
        return self.others.get(environment, self.usual)


def read_allowances(usual: RateLimits, exceptions: str) -> Allowances:
    """The usual limits, and others where `exceptions` (EXCEPTIONS_PATTERN, or nothing) says so."""
    others: dict[bytes, RateLimits] = {}
    for exception in filter(None, exceptions.split(",")):
        environment_id, _, figures = exception.partition("=")
        key_requests, _, tenant_requests = figures.partition("/")
        limits = RateLimits(int(key_requests), int(tenant_requests), usual.window_seconds)
        others[keys.environment_ref(parse("env", environment_id))] = limits
    return Allowances(usual, others)


class Asker(msgspec.Struct, frozen=True):
    """An API key, and its environment by its ref."""

    environment: bytes
    key_id: UUID


class Ask(msgspec.Struct, frozen=True):
    """What admit.lua is asked: for requests that wait, and for how many more, so that those need not wait."""

    window: int
    waiting: int
    ahead: int = 0


class Admission(msgspec.Struct, frozen=True, array_like=True):
    """What it answers: for how many requests, and what is left of key and environment after them."""

    granted: int
    key_left: int
    tenant_left: int


def script_keys(asker: Asker, window: int, partitions: int) -> tuple[bytes, bytes]:
    """Where the two are counted."""
    partition = keys.partition_of(asker.environment, partitions)
    return (
        keys.key_requests(partition, asker.environment, asker.key_id, window),
        keys.tenant_requests(partition, asker.environment, window),
    )


def script_arguments(limits: RateLimits, ask: Ask) -> tuple[int, ...]:
    """The arguments of admit.lua. Counters outlive their window by another, for whose clock is behind."""
    most = (limits.key_requests, limits.tenant_requests)
    return *most, ask.waiting, ask.ahead, AHEAD_SHARE, 2 * limits.window_seconds


def why_refused(limits: RateLimits, key_left: int, seconds: int) -> str:
    """What a client is told that has no request left; the key's limit is told before the environment's."""
    who, most = ("This API key", limits.key_requests)
    if key_left:
        who, most = ("All keys of this environment together", limits.tenant_requests)
    return f"{who} may send {most} requests in {limits.window_seconds} s; the next may be sent in {seconds} s."
