"""Usage that waits for the service: in memory, or (`spool_files.py`) on the disk."""

import logging
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import islice
from threading import Lock
from typing import NamedTuple, Protocol

from quotastack.answers import RejectedEvent
from quotastack.errors import SpoolFullError
from quotastack.events import Event, line

_log = logging.getLogger("quotastack")


class Waiting(NamedTuple):
    """An event of the spool, and the name under which it is taken out."""

    ticket: tuple[int, int]
    event: Event


class Spool(Protocol):
    """Events in the order in which they came. Every method may be called from any thread."""

    is_durable: bool
    """Whether what it holds outlives the process."""

    def add(self, events: Sequence[Event]) -> None:
        """Keep all of them, or none. Raises SpoolFullError, SpoolBrokenError."""
        ...

    def first(self, count: int) -> list[Waiting]:
        """The oldest."""
        ...

    def remove(self, tickets: Iterable[tuple[int, int]]) -> None:
        """They were answered."""
        ...

    def unfit(self) -> list[tuple[tuple[int, int], RejectedEvent]]:
        """What was found in it and is no event, with its ticket."""
        ...

    def reject(self, event: RejectedEvent) -> None:
        """Keep what will never be taken, beside the others."""
        ...

    def adopt(self) -> None:
        """Take over what processes left that are no more."""
        ...

    def close(self) -> None:
        """Let go of it; another process may take over what is left."""
        ...

    def forget(self) -> None:
        """In the child of a fork: all of it is the parent's."""
        ...

    def __len__(self) -> int: ...


class _Kept(NamedTuple):
    event: Event
    size: int


class MemorySpool:
    """Goes with the process, and says so once."""

    is_durable = False

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self._kept: OrderedDict[tuple[int, int], _Kept] = OrderedDict()
        self._bytes = self._count = 0
        self._lock = Lock()
        self._has_warned = False

    def add(self, events: Sequence[Event]) -> None:
        """Raises SpoolFullError."""
        kept = [_Kept(event, len(line(event))) for event in events]
        size = sum(one.size for one in kept)
        with self._lock:
            if self._bytes + size > self._max_bytes:
                raise SpoolFullError(f"{len(self._kept)} events wait already, {self._bytes} bytes.")
            for one in kept:
                self._count += 1
                self._kept[0, self._count] = one
            self._bytes += size
            if not self._has_warned:
                self._has_warned = True
                _log.warning("usage waits in memory and goes with this process; give the client spool= to keep it")

    def first(self, count: int) -> list[Waiting]:
        """The oldest."""
        with self._lock:
            return [Waiting(ticket, kept.event) for ticket, kept in islice(self._kept.items(), count)]

    def remove(self, tickets: Iterable[tuple[int, int]]) -> None:
        """They were answered."""
        with self._lock:
            for ticket in tickets:
                if (kept := self._kept.pop(ticket, None)) is not None:
                    self._bytes -= kept.size

    def unfit(self) -> list[tuple[tuple[int, int], RejectedEvent]]:
        """Nothing comes from elsewhere."""
        return []

    def reject(self, event: RejectedEvent) -> None:
        """Nothing is kept of it here: it is in the log, and told to `on_rejected`."""

    def adopt(self) -> None:
        """There is nothing to take over."""

    def close(self) -> None:
        """There is nothing to let go."""

    def __len__(self) -> int:
        with self._lock:
            return len(self._kept)
