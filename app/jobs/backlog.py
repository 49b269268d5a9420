"""How much waits to be told, as figures for whoever is woken by them."""

from datetime import datetime
from math import nan

from app.errors import ServiceError
from app.io import metrics
from app.io.postgres import Database
from app.webhooks.store import Backlog, read_backlog

_UNPLACED = metrics.gauge("quotastack_events_unplaced", "Events that have no place in their feed yet")
_WAITING = metrics.gauge(
    "quotastack_webhook_deliveries_waiting", "Deliveries that wait, those of disabled endpoints too"
)
_OLDEST = metrics.gauge(
    "quotastack_webhook_oldest_due_seconds", "For how long the oldest delivery to an endpoint that answers is due"
)


async def refresh_backlog(database: Database, now: datetime) -> None:
    """Bring the figures up to date; where Postgres is away, they are no numbers."""
    try:
        backlog = await database.run(None, read_backlog)
    except ServiceError:  # readiness tells that
        _show(nan, nan, nan)
    else:
        _show(backlog.unplaced, backlog.waiting, _seconds_due(backlog, now))


def _seconds_due(backlog: Backlog, now: datetime) -> float:
    return 0 if backlog.due_since is None else max(0.0, (now - backlog.due_since).total_seconds())


def _show(unplaced: float, waiting: float, oldest: float) -> None:
    _UNPLACED.set(unplaced)
    _WAITING.set(waiting)
    _OLDEST.set(oldest)
