"""The loop of everything that jobs does: rounds with rests between them, until told to stop."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import structlog

from app.errors import ServiceError
from app.io import metrics
from app.io.redis import RedisUnavailable

log: Any = structlog.get_logger()
_BUCKETS = (0.01, 0.05, 0.25, 1.0, 5.0, 30.0, 120.0, 600.0)
_SECONDS = metrics.histogram("quotastack_jobs_round_seconds", "How long rounds took", ["task"], _BUCKETS)
_FAILURES = metrics.counter("quotastack_jobs_round_failures_total", "Rounds that a store failed", ["task"])
_DONE = metrics.counter("quotastack_jobs_done_total", "What rounds did: ticks, ends of reservations, loads…", ["task"])
_LAST = metrics.gauge("quotastack_jobs_last_round_done", "What the last round did: what was due or overdue", ["task"])
_SUCCEEDED = metrics.gauge(
    "quotastack_jobs_last_success_timestamp_seconds", "When a round went well last, in Unix time", ["task"]
)


class Pace(msgspec.Struct, frozen=True):
    """What the rounds of something are called in the log, and how long they rest."""

    name: str
    """Also the label of its figures."""
    rest_seconds: float
    rest_after_failure_seconds: float | None = None
    """None = as after any other."""
    full_round: int | None = None
    """What a round does at most: after one that did as much there is more. None = no round leaves anything."""


async def run_rounds(work: Callable[[], Awaitable[object]], pace: Pace, stop: asyncio.Event) -> None:
    """Do `work` until told to stop; it answers how much it did.

    Again at once where that is a full round, or where it answers True: there is more. A round that a store fails is
    tried again. Failures of a kind are told when they begin, and when they are over.
    """
    failing = set[str]()
    while not stop.is_set():
        done: object = None
        failures: Sequence[Exception] = ()
        try:
            with _SECONDS.labels(pace.name).time():
                done = await work()
        except* (RedisUnavailable, ServiceError) as errors:
            failures = errors.exceptions
        _tell(pace.name, failures, failing)
        _count(pace.name, done, failures)
        has_more = done is True or (done is not None and done == pace.full_round)
        rest_seconds = 0 if has_more else pace.rest_seconds
        if failures and pace.rest_after_failure_seconds is not None:
            rest_seconds = pace.rest_after_failure_seconds
        try:
            await asyncio.wait_for(stop.wait(), rest_seconds)
        except TimeoutError:
            continue


def _count(name: str, done: object, failures: Sequence[Exception]) -> None:
    if failures:
        _FAILURES.labels(name).inc()
        return
    _SUCCEEDED.labels(name).set(time.time())
    if isinstance(done, int) and not isinstance(done, bool):
        _DONE.labels(name).inc(done)
        _LAST.labels(name).set(done)


def _tell(name: str, failures: Sequence[Exception], failing: set[str]) -> None:
    """Tell what is new; `failing` are the kinds that were told since the last round that went well."""
    for error in failures:
        kind = type(error).__name__
        if kind not in failing:
            log.warning("round_failed", of=name, error=str(error), kind=kind)
    if failing and not failures:
        log.info("rounds_go_on", of=name)
        failing.clear()
    failing.update(type(error).__name__ for error in failures)
