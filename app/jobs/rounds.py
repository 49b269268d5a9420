"""The loop of everything that jobs does: rounds with rests between them, until told to stop."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import structlog

from app.errors import ServiceError
from app.io.redis import RedisUnavailable

log: Any = structlog.get_logger()


class Pace(msgspec.Struct, frozen=True):
    """What the rounds of something are called in the log, and how long they rest."""

    name: str
    rest_seconds: float
    rest_after_failure_seconds: float | None = None
    """None = as after any other."""


async def run_rounds(work: Callable[[], Awaitable[object]], pace: Pace, stop: asyncio.Event) -> None:
    """Do `work` until told to stop, again at once where it answers True: there is more.

    A round that a store fails is tried again. Failures of a kind are told when they begin, and when they are over.
    """
    failing = set[str]()
    while not stop.is_set():
        more = False
        failures: Sequence[Exception] = ()
        try:
            more = await work() is True
        except* (RedisUnavailable, ServiceError) as errors:
            failures = errors.exceptions
        _tell(pace.name, failures, failing)
        rest_seconds = 0 if more else pace.rest_seconds
        if failures and pace.rest_after_failure_seconds is not None:
            rest_seconds = pace.rest_after_failure_seconds
        try:
            await asyncio.wait_for(stop.wait(), rest_seconds)
        except TimeoutError:
            continue


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
