"""What became of events that were sent in a batch: each was taken, or never will be, or is to be sent again."""

from collections.abc import Sequence
from enum import Enum
from http import HTTPStatus
from typing import NamedTuple

from quotastack.answers import BatchItem, RejectedEvent
from quotastack.errors import REUSED, UNEXPECTED, QuotaStackError, UnavailableError
from quotastack.events import Event
from quotastack.models import BatchResult

PASSING = frozenset(
    {
        "account_loading",
        "account_unavailable",
        "backlog",
        "edge_unavailable",
        "idempotency_key_in_flight",
        "internal_error",
        "order_pending",
        "store_unavailable",
        "test_clock_advancing",
        "too_many_requests",
    }
)
"""Codes that are answered otherwise a moment later; all SDKs share them (sdks/vectors/passing_codes.json)."""
WHOLE_REFUSED = frozenset({400, 413, 422})
"""Statuses of a batch in which one event may be to blame."""
NOT_KEPT = "not_kept"
"""Of an event that could neither be sent nor kept."""
UNFIT = "unfit"
"""Of what lay in a spool and is no usage event."""
_ABOUT_TIME = frozenset({REUSED, "timestamp_out_of_range"})
"""The event arrived before, without the time; or the time is too long ago, or of another clock than a sandbox's."""


class Fate(Enum):
    """Of an event that was sent."""

    TAKEN = "taken"
    REJECTED = "rejected"
    LATER = "later"
    TIME_REFUSED = "time refused"
    """The time that we noted may be to blame; without it, it is taken at the moment of arrival."""


class Verdict(NamedTuple):
    """What became of one event, and why."""

    fate: Fate
    code: str = ""
    detail: str = ""
    error: QuotaStackError | None = None
    """Of one that is to be sent again: what stands in its way."""


def verdicts_of(events: Sequence[Event], results: Sequence[BatchResult]) -> list[Verdict]:
    """One for each event. A batch that is not answered whole is not answered."""
    if len(events) != len(results):
        detail = f"{len(results)} results for {len(events)} events"
        return [_later(UnavailableError(detail, status=HTTPStatus.OK))] * len(events)
    return [_verdict(event, result) for event, result in zip(events, results, strict=True)]


def _verdict(event: Event, result: BatchResult) -> Verdict:
    if result.status == "accepted":
        return Verdict(Fate.TAKEN)
    code, detail = result.code or UNEXPECTED, result.detail or ""
    if code in PASSING:
        return _later(UnavailableError(detail, status=HTTPStatus.SERVICE_UNAVAILABLE, code=code))
    if code in _ABOUT_TIME and not event.is_timed:
        return Verdict(Fate.TIME_REFUSED, code, detail)
    return Verdict(Fate.REJECTED, code, detail)


def verdict_of_failure(error: QuotaStackError) -> Verdict:
    """Of one event that was sent by itself. Whatever is not about the event itself may be put right: a key, a URL."""
    return Verdict(Fate.REJECTED, error.code, error.detail) if error.status in WHOLE_REFUSED else _later(error)


def _later(error: QuotaStackError) -> Verdict:
    return Verdict(Fate.LATER, error.code, error.detail, error)


def was_recorded(error: QuotaStackError, event: Event) -> bool:
    """Whether the refusal says that the same event is recorded, with the time that was noted when it was spooled."""
    return error.code == REUSED and list(error.mismatch) == ["timestamp"] and not event.is_timed


def rejected(event: Event, verdict: Verdict) -> RejectedEvent:
    """What is told of an event that will never be taken."""
    return RejectedEvent(
        end_user_id=event.end_user_id,
        feature_key=event.feature_key,
        units=event.units,
        idempotency_key=event.idempotency_key,
        timestamp=event.timestamp,
        properties=event.properties,
        code=verdict.code,
        detail=verdict.detail,
    )


def item(event: Event, result: BatchResult) -> BatchItem:
    """What the service said of one event."""
    return BatchItem(
        status=result.status,
        idempotency_key=event.idempotency_key,
        event_id=result.event_id,
        cost=result.cost,
        balance=result.balance,
        overage=result.overage,
        code=result.code,
        detail=result.detail,
        durability=result.durability,
        replayed=result.replayed,
    )


def spooled_item(event: Event) -> BatchItem:
    """Of an event that waits in the spool."""
    return BatchItem(status="accepted", idempotency_key=event.idempotency_key, durability="local", source="fallback")


def refused_item(event: Event, code: str, detail: str) -> BatchItem:
    """Of an event whose request the service refused whole."""
    return BatchItem(status="rejected", idempotency_key=event.idempotency_key, code=code, detail=detail)


def unknown_item(event: Event, code: str, detail: str) -> BatchItem:
    """Of an event that may be recorded or not: nobody heard, and it is not kept."""
    return BatchItem(
        status="unknown", idempotency_key=event.idempotency_key, code=code, detail=detail, source="fallback"
    )
