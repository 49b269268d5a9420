"""Whether a request is sent again, and when: a function of what came back."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import inf
from typing import NamedTuple

from quotastack.errors import QuotaStackError, is_success

FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 5.0
_AGAIN = frozenset({429, 500, 502, 503, 504})


class Patience(NamedTuple):
    """How often a request is sent at most, and for how long the service may ask to wait (seconds).

    `in_all`: attempts and waits together take no longer.
    """

    attempts: int
    max_wait: float
    in_all: float = inf


LAST_CHANCE = Patience(1, 0.0)
"""Where nobody waits any more."""
KNOWN_AWAY = Patience(1, 0.0, 2.0)
"""With usage that can be kept, while other usage waits because nobody answered."""


def wait_before_retry(error: QuotaStackError, retries: int, patience: Patience, chance: float) -> float | None:
    """Seconds until the next attempt, after so many retries; None: this was the last.

    `chance` is from 0 to 1. The wait is anything up to a bound that doubles, so that clients that failed together do
    not come again together; and never less than the service asks for.
    """
    if retries + 1 >= patience.attempts or not _is_worth_it(error):
        return None
    asked = error.retry_after or 0.0
    if asked > patience.max_wait:
        return None
    return max(asked, chance * growing(retries, FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS))


def growing(failures: int, first: float, longest: float) -> float:
    """The bound of a wait: it doubles with each failure, up to the longest."""
    return float(min(longest, first * 2 ** min(failures, 32)))


def _is_worth_it(error: QuotaStackError) -> bool:
    status = error.status
    return error.is_passing and (status is None or status in _AGAIN or status == 409 or is_success(status))  # noqa: PLR2004


def read_retry_after(text: str | None, now: datetime | None = None) -> float | None:
    """Seconds that the header Retry-After asks for: it holds a number or a date. None: it says nothing of use."""
    if text is None:
        return None
    if text.strip().isascii() and text.strip().isdecimal():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (at.astimezone(UTC) - (now or datetime.now(UTC))).total_seconds())
