"""Units by feature and period, pure: what a batch adds to an account's counters, and when its period is over.

Which period an entry counts in was decided by the script that appended it, so that counters do not depend on lag.
"""

from msgspec import structs

from app.ledger.book import Account, CountedUnits
from app.rules.periods import period_containing


def count(account: Account, feature_key: str, period_at: int, units_micro: int) -> CountedUnits:
    """Count so many units more in the period that began at `period_at`, or less; what the ledger adds for it."""
    name = feature_key, period_at
    account.counters[name] = account.counters.get(name, 0) + units_micro
    return CountedUnits(account.environment_id, account.id, feature_key, period_at, units_micro)


def turn_period(account: Account, at: int) -> None:
    """Where the account's period is over `at`, the one begins that this moment lies in.

    Without a calendar it is the subscription's, which turns it.
    """
    counting = account.counting
    if counting is not None and counting.calendar is not None and counting.turns_at <= at:
        account.counting = structs.replace(counting, period=period_containing(counting.calendar, at))
