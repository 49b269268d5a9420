"""What jobs counts of webhooks: attempts by what was answered, and what waits."""

from datetime import datetime
from math import nan

from app.errors import ServiceError
from app.io import metrics
from app.io.postgres import Database, Transaction
from app.io.statements import statements

_SQL = statements("app.jobs")
NO_ANSWER = "none"
"""The label of an attempt that nobody answered: refused, too slow, cut off, or not allowed to be made."""
_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0)
_ATTEMPTS = metrics.counter("quotastack_webhook_attempts_total", "Attempts, by what was answered", ["status"])
_SECONDS = metrics.histogram("quotastack_webhook_attempt_seconds", "How long attempts took", buckets=_BUCKETS)
_WAITING = metrics.gauge("quotastack_webhook_deliveries_waiting", "Deliveries that wait for endpoints that are enabled")
_LATE = metrics.gauge("quotastack_webhook_overdue_seconds", "For how long the first delivery of any queue has been due")


def count_attempt(status: int | None, elapsed_ms: int) -> None:
    """An attempt is over; `status` None = nobody answered."""
    _ATTEMPTS.labels(NO_ANSWER if status is None else f"{status // 100}xx").inc()
    _SECONDS.observe(elapsed_ms / 1000)


async def refresh_backlog(database: Database, now: datetime) -> None:
    """Bring up to date what waits; where Postgres is away, it is no number."""
    try:
        waiting, since = await database.run(None, _read)
    except ServiceError:  # readiness tells that
        _WAITING.set(nan)
        _LATE.set(nan)
        return
    _WAITING.set(waiting)
    _LATE.set(0 if since is None else max(0.0, (now - since).total_seconds()))


async def _read(tx: Transaction) -> tuple[int, datetime | None]:
    [row] = await tx.connection.fetch(_SQL["read_webhook_backlog"])
    return row["waiting"], row["since"]
