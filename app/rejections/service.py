"""Taking rejected usage in again.

Redis first, then the row: a crash in between leaves an entry that is posted or rejected like any other, and the next
retry finds it there. The row first would leave an event that is said to be under way and is not.
"""

from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from app.entitlements.loading import WAIT_SECONDS, load_account
from app.errors import ServiceError
from app.io.pauses import pauses
from app.io.postgres import Database, Transaction
from app.io.redis import RedisStore, UsageRetry
from app.ledger.schemas import EventStatus
from app.rejections import store
from app.rejections.store import RejectedRow
from app.rules.moments import to_at
from app.wire import keys
from app.wire.codes import Code
from app.wire.events import UsagePayload, encode_usage

_REFUSALS = {
    "miss": (Code.ACCOUNT_LOADING, "The customer's account changes faster than it can be loaded; try again."),
    "wait": (Code.ACCOUNT_UNAVAILABLE, "What is due on the customer's account is not posted yet; try again."),
    "backlog": (Code.BACKLOG, "More usage is waiting to be posted than may wait; try again."),
    "full": (Code.BACKLOG, "More usage is waiting to be posted than may wait; try again."),
    "range": (Code.BALANCE_OUT_OF_RANGE, "The balance would leave the range that can be kept exactly."),
}


class Retrying(msgspec.Struct, frozen=True):
    """What retries reach and how far they go, and the moment of this one."""

    database: Database
    redis: RedisStore
    environment_id: UUID
    most_entries: int
    now: datetime

    @property
    def forgotten(self) -> datetime:
        """A retry before this moment that came to nothing was lost with the memory of Redis, and may be made again."""
        return self.now - timedelta(seconds=self.redis.agreement.idempotency_window_seconds)

    def allows(self, row: RejectedRow) -> bool:
        """Whether what was rejected may be taken in again."""
        is_under_way = row.retried_at is not None and row.retried_at >= self.forgotten
        return not (row.is_posted or is_under_way) and row.is_priced


async def append_again(retrying: Retrying, row: RejectedRow) -> None:
    """Append the event to the stream anew, unless this rejection of it was retried before.

    What it costs stays, and so does the moment in which it happened. Raises ServiceError(UNKNOWN_CUSTOMER) where the
    ledger still has no such customer, (BACKLOG), (BALANCE_OUT_OF_RANGE), (ACCOUNT_LOADING), (ACCOUNT_UNAVAILABLE).
    """
    call, outcome = _call(retrying, row), "wait"
    async for _ in pauses(WAIT_SECONDS):
        outcome = await retrying.redis.retry(call, to_at(retrying.now))
        if outcome == "miss":
            await _load(retrying, row.end_user_id)
        elif outcome != "wait":
            break
    if outcome in _REFUSALS:
        raise ServiceError(*_REFUSALS[outcome])


def _call(retrying: Retrying, row: RejectedRow) -> UsageRetry:
    entry = row.usage
    if entry is None or entry.payload is None:
        message = "only what holds a usage event is taken in again"
        raise AssertionError(message)
    sent = entry.payload
    payload = UsagePayload(
        sent.event_id,
        sent.feature_key,
        sent.units_micro,
        sent.price_id,
        entry.accepted_at if sent.occurred_at is None else sent.occurred_at,
        sent.idempotency_key,
        sent.properties,
    )
    ref = keys.account_ref(keys.environment_ref(retrying.environment_id), row.end_user_id)
    counted = None if entry.period_at is None else (sent.feature_key, sent.units_micro)
    what = entry.cost_micro, encode_usage(payload), row.stream_id
    return UsageRetry(ref, row.id, *what, retrying.most_entries, counted)


async def _load(retrying: Retrying, end_user_id: str) -> None:
    loaded = await load_account(retrying.database, retrying.redis, retrying.environment_id, end_user_id)
    if loaded == "unknown":
        raise ServiceError(Code.UNKNOWN_CUSTOMER, f"No customer has the end_user_id {end_user_id!r}. Make it first.")
    if loaded == "busy":
        raise ServiceError(Code.ACCOUNT_LOADING, "The customer's account is being loaded; try again.")


async def note_retry(tx: Transaction, retrying: Retrying, event_id: UUID, appended: str | None) -> RejectedRow | None:
    """Remember that the rejected entry `appended` was taken in again; None = it is under way.

    The row where it was rejected once more by now. Raises ServiceError(NOT_FOUND), (ALREADY_RETRIED) with its state,
    (NOT_RETRYABLE).
    """
    if appended is not None and await store.mark_retried(tx, event_id, appended, retrying.now, retrying.forgotten):
        return None
    row = await store.read_rejected(tx, event_id)
    if row is None:
        raise ServiceError(Code.NOT_FOUND, "No event with this id was rejected.")
    if row.status is not EventStatus.REJECTED:
        detail = f"The event was retried already, or is posted: it is {row.status.value}."
        raise ServiceError(Code.ALREADY_RETRIED, detail, context={"status": row.status.value})
    if not row.is_priced:
        raise ServiceError(Code.NOT_RETRYABLE, f"There is no event that could be posted: {row.detail}")
    return row
