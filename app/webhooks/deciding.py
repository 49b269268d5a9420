"""What becomes of a delivery, its queue and its endpoint after an attempt: pure."""

from datetime import timedelta
from enum import StrEnum

import msgspec

from app.rules.retry import next_attempt

GONE = 410
"""The answer of an endpoint that wants no more."""
KEPT = timedelta(days=30)
"""How long events and deliveries are kept: so long is an endpoint told that is disabled, so far back goes a replay."""
FAILING_MICROSECONDS = 5 * 86_400_000_000
"""How long every attempt may fail before an endpoint is disabled."""


class State(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    PARKED = "parked"


class DisabledReason(StrEnum):
    """Why an endpoint is not told of anything."""

    ASKED = "asked"
    GONE = "gone"
    FAILING = "failing"


class Attempt(msgspec.Struct, frozen=True):
    """One attempt that has ended: `failure` says why where nobody answered."""

    at: int
    """When it ended."""
    status: int | None
    failure: str | None
    retry_after_seconds: int | None
    elapsed_ms: int
    answer: str | None
    """The beginning of what was answered."""

    @property
    def went_well(self) -> bool:
        """Any 2xx says that the event was taken; a redirect does not."""
        return self.failure is None and self.status is not None and 200 <= self.status < 300  # noqa: PLR2004 - 2xx


class Fate(msgspec.Struct, frozen=True):
    """What becomes of a delivery; `due_at` where it is tried again."""

    state: State
    due_at: int | None = None


class Health(msgspec.Struct, frozen=True):
    """How it goes with an endpoint: since when no attempt went well, and why it is to be disabled, if it is."""

    failing_since: int | None
    disabled: DisabledReason | None = None


def fate_after(attempt: Attempt, number: int, jitter: int) -> Fate:
    """What becomes of a delivery after its attempt of this number, from 1. `jitter` as `rules.retry` takes it.

    After the last one it is parked, so that the next of its queue has its turn.
    """
    if attempt.went_well:
        return Fate(State.DELIVERED)
    due_at = next_attempt(number, attempt.at, jitter, attempt.retry_after_seconds)
    return Fate(State.PARKED) if due_at is None else Fate(State.PENDING, due_at)


def health_after(failing_since: int | None, attempts: list[Attempt]) -> Health:
    """How it goes with an endpoint after some attempts, in the order in which they ended."""
    for attempt in attempts:
        if attempt.went_well:
            failing_since = None
        elif attempt.status == GONE:
            return Health(attempt.at if failing_since is None else failing_since, DisabledReason.GONE)
        elif failing_since is None:
            failing_since = attempt.at
        elif attempt.at - failing_since >= FAILING_MICROSECONDS:
            return Health(failing_since, DisabledReason.FAILING)
    return Health(failing_since)
