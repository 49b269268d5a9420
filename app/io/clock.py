"""What time it is. Read once where work begins, and handed down as `now`."""

from datetime import UTC, datetime


class Clock:
    """The machine's clock; tests put one of their own in its place."""

    def now(self) -> datetime:
        """The present moment, aware, in UTC."""
        return datetime.now(UTC)


class FrozenClock(Clock):
    """One that stands still."""

    def __init__(self, at: datetime) -> None:
        self._at = at

    def now(self) -> datetime:
        """Where it stands."""
        return self._at
