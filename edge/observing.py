"""What a worker tells of itself: every answer is counted, and once a second what it has open and spooled."""

import time

from edge import metrics
from edge.exchange import Exchange
from edge.routes import LABELS
from edge.spool import Spool

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

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._rows = {
            label: (_SECONDS.row(*label), (0, *(_REQUESTS.row(*label, status) for status in STATUSES)))
            for label in LABELS
        }
        """By label: the row of its times, and those of its answers by the first digit of their status."""

    def answered(self, exchange: Exchange, status: int) -> None:
        """Count an answer; on the way of every request, so there is little of it."""
        seconds_row, status_rows = self._rows[exchange.label]
        _REQUESTS.add(status_rows[status // 100])
        if exchange.began_at:
            _SECONDS.observe(seconds_row, (time.monotonic_ns() - exchange.began_at) // 1000)

    def look(self, connections: int) -> None:
        """Tell what is open and spooled now."""
        spool, now_at = self._spool, time.time_ns() // 1000
        _CONNECTIONS.set(connections)
        _SPOOL_BYTES.set(spool.size)
        _SPOOL_CUSTOMERS.set(len(spool.waiting))
        _SPOOL_AGE.set(0 if spool.oldest_at is None else max(0, now_at - spool.oldest_at))
