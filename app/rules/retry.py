"""When a webhook that was not taken is sent again, and when it is no longer.

The steps are those that Standard Webhooks recommends. Each one counts from the failure before it.
"""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

SCHEDULE_SECONDS = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""How long each attempt waits: the first for nothing, the others for this long after the one before them failed."""

MAX_RETRY_AFTER_SECONDS = 86_400
"""The longest wait that an answer can ask for."""

JITTER_RANGE = 1_000_000
"""The caller's random number lies between 0 and this."""

_SPREAD = 10  # a tenth of the wait: deliveries that failed together do not come back together
_MICRO = 1_000_000
_DIGITS = len(str(MAX_RETRY_AFTER_SECONDS))


def next_attempt(attempt: int, failed_at: int, jitter: int, retry_after_seconds: int | None) -> int | None:
    """When to try again after attempt number `attempt`, from 1, failed at `failed_at`; None: it was the last one.

    Moments in microseconds; `jitter` is a random number in 0..JITTER_RANGE. What the answer asked for can lengthen the
    wait, up to MAX_RETRY_AFTER_SECONDS, and not shorten it.
    """
    if attempt >= len(SCHEDULE_SECONDS):
        return None
    asked_seconds = min(retry_after_seconds or 0, MAX_RETRY_AFTER_SECONDS)
    wait = max(SCHEDULE_SECONDS[attempt], asked_seconds) * _MICRO
    return failed_at + wait + wait * jitter // (JITTER_RANGE * _SPREAD)


def read_retry_after(field: str | None, date: str | None, now: datetime) -> int | None:
    """Seconds that a Retry-After asks for, from 0 to MAX_RETRY_AFTER_SECONDS; None: for nothing that can be understood.

    A moment is counted from the answer's own `date`, since the other side's clock set both; without one from `now`.
    """
    text = (field or "").strip()
    if text.isascii() and text.isdigit():
        wanted = text.lstrip("0") or "0"
        return MAX_RETRY_AFTER_SECONDS if len(wanted) > _DIGITS else min(int(wanted), MAX_RETRY_AFTER_SECONDS)
    until = _read_date(text)
    if until is None:
        return None
    seconds = (until - (_read_date(date or "") or now)) // timedelta(seconds=1)
    return min(max(seconds, 0), MAX_RETRY_AFTER_SECONDS)


def _read_date(text: str) -> datetime | None:
    try:
        read = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return read if read.tzinfo else read.replace(tzinfo=UTC)
