"""What a worker tells of itself: every answer is counted, some are logged, and each second what is open and spooled."""

import re
import time
from http import HTTPStatus
from logging import INFO, WARNING, getLogger

from edge import metrics
from edge.exchange import Exchange
from edge.log_lines import fields
from edge.routes import LABELS
from edge.settings import LogRequests
from edge.spool import Spool

log = getLogger("edge.request")

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
MAX_LOGGED_PER_SECOND = 100
"""Of answers that are errors: a store that is away would write a line for every request."""
STATUSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
STARTS = metrics.counter(
    "quotastack_edge_worker_starts_total", "Workers that were started, in the place of dead ones too"
)
_REQUESTS = metrics.counter(
    "quotastack_edge_requests_total",
    "Requests that were answered",
    ("method", "route", "status"),
    [(*label, status) for label in LABELS for status in STATUSES],
)
_SECONDS = metrics.histogram(
    "quotastack_edge_request_seconds", "From a whole request to its answer", ("method", "route"), LABELS
)
_CONNECTIONS = metrics.gauge("quotastack_edge_connections", "Clients that are connected")
_SPOOL_BYTES = metrics.gauge("quotastack_edge_spool_bytes", "Bytes of usage that is spooled")
_SPOOL_CUSTOMERS = metrics.gauge("quotastack_edge_spool_customers", "Customers with spooled usage, by worker")
_SPOOL_AGE = metrics.gauge("quotastack_edge_spool_oldest_seconds", "Age of the oldest file with spooled usage", max)


class Observer:
    """Of one worker."""

    def __init__(self, spool: Spool, log_requests: LogRequests) -> None:
        self._spool = spool
        self._logged_from = {"all": 0, "errors": HTTPStatus.INTERNAL_SERVER_ERROR, "none": 1000}[log_requests]
        """The least status of answers that are logged."""
        self._is_bounded = log_requests == "errors"
        self._logged = 0
        """In this second."""
        self._rows = {
            label: (_SECONDS.row(*label), (0, *(_REQUESTS.row(*label, status) for status in STATUSES)))
            for label in LABELS
        }
        """By label: the row of its times, and those of its answers by the first digit of their status."""

    def answered(self, exchange: Exchange, status: int) -> None:
        """Count an answer; on the way of every request, so there is little of it."""
        seconds_row, status_rows = self._rows[exchange.label]
        _REQUESTS.add(status_rows[status // 100])
        microseconds = 0
        if exchange.began_at:
            microseconds = (time.monotonic_ns() - exchange.began_at) // 1000
            _SECONDS.observe(seconds_row, microseconds)
        if status >= self._logged_from:
            self._log(exchange, status, microseconds)

    def look(self, connections: int) -> None:
        """Tell what is open and spooled now, and how many errors had no line."""
        if self._is_bounded and self._logged > MAX_LOGGED_PER_SECOND:
            log.warning("requests not logged", extra=fields(count=self._logged - MAX_LOGGED_PER_SECOND))
        self._logged = 0
        spool, now_at = self._spool, time.time_ns() // 1000
        _CONNECTIONS.set(connections)
        _SPOOL_BYTES.set(spool.size)
        _SPOOL_CUSTOMERS.set(len(spool.waiting))
        _SPOOL_AGE.set(0 if spool.oldest_at is None else max(0, now_at - spool.oldest_at))

    def _log(self, exchange: Exchange, status: int, microseconds: int) -> None:
        """A line for a request, in the words of core's: no key, no query, no name of anybody."""
        self._logged += 1
        if self._is_bounded and self._logged > MAX_LOGGED_PER_SECOND:
            return
        method, route = exchange.label
        members: dict[str, object] = {
            "request_id": exchange.request_id.decode(),
            "method": method,
            "route": route,
            "status": status,
            "elapsed_ms": microseconds / 1000,
        }
        if exchange.code is not None:
            members["code"] = exchange.code.value
        trace = exchange.headers.get(b"traceparent", b"").decode("latin-1")
        if _TRACEPARENT.fullmatch(trace):
            members["trace_id"] = trace.split("-")[1]
        level = INFO if status < HTTPStatus.INTERNAL_SERVER_ERROR else WARNING
        log.log(level, "request", extra=fields(**members))
