"""How a client behaves, and where it looks for what it is not told."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from urllib.parse import urlsplit

from quotastack.answers import RejectedEvent
from quotastack.errors import ConfigurationError
from quotastack.fallback import Cached, FailMode
from quotastack.retries import Patience

KEY, URL, EDGE_URL = "QUOTASTACK_KEY", "QUOTASTACK_URL", "QUOTASTACK_EDGE_URL"
CHECK_ATTEMPTS = 2
"""Somebody is waiting for a check."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Times are seconds. The key is shown nowhere."""

    api_key: str = field(repr=False)
    url: str
    edge_url: str
    timeout: float = 10.0
    check_timeout: float = 2.0
    attempts: int = 4
    check_attempts: int | None = None
    """None: 2, for somebody is waiting; fewer where `attempts` is."""
    max_wait: float = 30.0
    usage_timeout: float = 10.0
    """After so long, attempts and waits together, usage goes to the spool."""
    fail_mode: FailMode = "closed"
    feature_fail_modes: Mapping[str, FailMode] = field(default_factory=dict[str, FailMode])
    spool: Path | None = None
    max_spool_bytes: int = 64 * 1024 * 1024
    flush_interval: float = 1.0
    max_buffered: int = 10_000
    """Events that are buffered; more than that go to the spool at once."""
    on_rejected: Callable[[RejectedEvent], None] | None = None

    def __post_init__(self) -> None:
        """Raises ConfigurationError for what cannot be meant."""
        for mode in (self.fail_mode, *self.feature_fail_modes.values()):
            _require_mode(mode)
        _require_whole("attempts", self.attempts, 1)
        if self.check_attempts is not None:
            _require_whole("check_attempts", self.check_attempts, 1)
        _require_whole("max_buffered", self.max_buffered, 1)
        _require_whole("max_spool_bytes", self.max_spool_bytes, 0)
        for name in ("timeout", "check_timeout", "usage_timeout"):
            if _seconds(name, getattr(self, name)) == 0:
                raise ConfigurationError(f"{name} cannot be 0: nothing is answered in no time.")
        for name in ("max_wait", "flush_interval"):
            _seconds(name, getattr(self, name))

    @property
    def patience(self) -> Patience:
        """With most requests."""
        return Patience(self.attempts, self.max_wait)

    @property
    def usage_patience(self) -> Patience:
        """With usage that can be kept: its caller waits no longer than that."""
        return Patience(self.attempts, self.max_wait, self.usage_timeout)

    @property
    def check_patience(self) -> Patience:
        """With checks."""
        attempts = min(self.attempts, CHECK_ATTEMPTS) if self.check_attempts is None else self.check_attempts
        return Patience(attempts, self.check_timeout)


def read_addresses(
    api_key: str | None, url: str | None, edge_url: str | None, environ: Mapping[str, str] = os.environ
) -> tuple[str, str, str]:
    """Key, URL and the edge's URL; what is not given comes from the environment. Raises ConfigurationError."""
    key = environ.get(KEY) if api_key is None else api_key
    if not key:
        raise ConfigurationError(f"Give an API key: api_key=, or the variable {KEY}.")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigurationError("The API key has characters that no API key has.")
    core = environ.get(URL) if url is None else url
    if not core:
        raise ConfigurationError(f"Say where QuotaStack is: url=, or the variable {URL}.")
    edge = edge_url or (None if url else environ.get(EDGE_URL)) or core
    for address in (core, edge):
        _require_address(address)
    return key, core.rstrip("/"), edge.rstrip("/")


def _require_address(address: str) -> None:
    """What is wrong may be a password, so it is not shown whole."""
    if not address.startswith(("http://", "https://")):
        raise ConfigurationError(f"{address.rpartition('@')[2]} is no URL: it begins with http:// or https://.")
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigurationError("A URL of QuotaStack has no host, or no port, that could be one.") from error
    if "@" in parts.netloc:
        raise ConfigurationError("A URL of QuotaStack has no user and no password: the API key says who asks.")
    if not host or parts.query or parts.fragment:
        raise ConfigurationError(f"{address} is no URL of QuotaStack: http:// or https://, a host, and a path at most.")


def _require_mode(mode: object) -> None:
    bare = mode.otherwise if isinstance(mode, Cached) else mode
    if bare not in ("open", "closed"):
        raise ConfigurationError(f"No fail mode is {bare!r}: it is 'open', 'closed' or cached(seconds).")
    if isinstance(mode, Cached):
        _seconds("The age of cached answers", mode.max_age)


def _require_whole(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigurationError(f"{name} is a whole number from {least} on; it cannot be {value!r}.")


def _seconds(name: str, value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < inf:
        raise ConfigurationError(f"{name} is a number of seconds; it cannot be {value!r}.")
    return value
