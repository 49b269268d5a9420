# Made from _async by scripts/make_sync.py: change it there.
"""The client: every verb, and its beginning and end."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from quotastack import calls, ending
from quotastack._sync.customers import Customers
from quotastack._sync.reservations import Reservations
from quotastack._sync.transport import Transport
from quotastack._sync.usage import Usage
from quotastack.answers import FlushReport, RejectedEvent
from quotastack.events import new_key, to_json
from quotastack.fallback import FailMode
from quotastack.settings import Settings, read_addresses

_READING = ("GET", "HEAD")


class QuotaStack(Customers, Usage, Reservations):
    """A client of one environment of QuotaStack, for threads.

    Key and addresses that are not given come from QUOTASTACK_KEY, QUOTASTACK_URL and QUOTASTACK_EDGE_URL. Make one and
    keep it; close it in the end, or use it as a context manager. docs: sdks/python/README.md.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        url: str | None = None,
        edge_url: str | None = None,
        timeout: float = 10.0,
        check_timeout: float = 2.0,
        attempts: int = 4,
        check_attempts: int | None = None,
        max_wait: float = 30.0,
        usage_timeout: float = 10.0,
        fail_mode: FailMode = "closed",
        feature_fail_modes: Mapping[str, FailMode] | None = None,
        spool: str | Path | None = None,
        max_spool_bytes: int = 64 * 1024 * 1024,
        flush_interval: float = 1.0,
        max_buffered: int = 10_000,
        on_rejected: Callable[[RejectedEvent], None] | None = None,
        http: httpx.Client | None = None,
    ) -> None:
        key, core, edge = read_addresses(api_key, url, edge_url)
        settings = Settings(
            api_key=key,
            url=core,
            edge_url=edge,
            timeout=timeout,
            check_timeout=check_timeout,
            attempts=attempts,
            check_attempts=check_attempts,
            max_wait=max_wait,
            usage_timeout=usage_timeout,
            fail_mode=fail_mode,
            feature_fail_modes=feature_fail_modes or {},
            spool=None if spool is None else Path(spool),
            max_spool_bytes=max_spool_bytes,
            flush_interval=flush_interval,
            max_buffered=max_buffered,
            on_rejected=on_rejected,
        )
        super().__init__(settings, Transport(settings, http))
        ending.remember(self)
        if spool is not None:
            self._delivery.start()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(url={self._settings.url!r}, edge_url={self._settings.edge_url!r})"

    def request(
        self,
        method: calls.Method,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Any:
        """Anything else of the API, as JSON: with the same retries and errors, and a key where something changes.

        `path` begins with `/v1/`, or with what else the service has. Raises ValueError for one that would leave it.
        """
        calls.require_path(path)
        key = None if method in _READING else idempotency_key or new_key()
        call = calls.Call(method, path, None if body is None else to_json(body), query, key)
        return self._read(call)

    def forget(self) -> None:
        """In the child of a fork: connections, threads and waiting usage are the parent's."""
        self._transport.forget()
        self._delivery.forget()

    def close(self) -> FlushReport:
        """Flush for the last time, and end. What still waits stays in a durable spool, and is lost with any other."""
        report = self._delivery.close()
        self._transport.close()
        return report

    def __enter__(self) -> Self:
        self._delivery.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
