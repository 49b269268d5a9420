"""How a client behaves, and where it looks for what it is not told."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from quotastack.answers import RejectedEvent
from quotastack.errors import ConfigurationError
from quotastack.fallback import FailMode
from quotastack.retries import Patience

KEY, URL, EDGE_URL = "QUOTASTACK_KEY", "QUOTASTACK_URL", "QUOTASTACK_EDGE_URL"
CHECK_ATTEMPTS = 2
"""Somebody is waiting for a check."""
MAX_BUFFERED_EVENTS = 10_000
"""More than that go to the spool at once."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Times are seconds. The key is shown nowhere."""

    api_key: str = field(repr=False)
    url: str
    edge_url: str
    timeout: float = 10.0
    check_timeout: float = 2.0
    attempts: int = 4
    max_wait: float = 30.0
    fail_mode: FailMode = "closed"
    feature_fail_modes: Mapping[str, FailMode] = field(default_factory=dict[str, FailMode])
    spool: Path | None = None
    max_spool_bytes: int = 64 * 1024 * 1024
    flush_interval: float = 1.0
    on_rejected: Callable[[RejectedEvent], None] | None = None

    @property
    def patience(self) -> Patience:
        """With most requests."""
        return Patience(self.attempts, self.max_wait)

    @property
    def check_patience(self) -> Patience:
        """With checks."""
        return Patience(min(self.attempts, CHECK_ATTEMPTS), self.check_timeout)


def read_addresses(
    api_key: str | None, url: str | None, edge_url: str | None, environ: Mapping[str, str] = os.environ
) -> tuple[str, str, str]:
    """Key, URL and the edge's URL; what is not given comes from the environment. Raises ConfigurationError."""
    key = api_key or environ.get(KEY)
    if not key:
        raise ConfigurationError(f"Give an API key: api_key=, or the variable {KEY}.")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigurationError("The API key has characters that no API key has.")
    core = url or environ.get(URL)
    if not core:
        raise ConfigurationError(f"Say where QuotaStack is: url=, or the variable {URL}.")
    edge = edge_url or (None if url else environ.get(EDGE_URL)) or core
    for address in (core, edge):
        if not address.startswith(("http://", "https://")):
            raise ConfigurationError(f"{address} is no URL: it begins with http:// or https://.")
    return key, core.rstrip("/"), edge.rstrip("/")
