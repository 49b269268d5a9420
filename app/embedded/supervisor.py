"""Keeps children running: a dead one is started again at once, one that keeps dying ever more slowly."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from app.embedded.errors import EmbeddedError

# Whoever lives shorter than this "died at once".
_SHORT_LIFE_SECONDS: Final = 2.0
# The wait before a start, by how many such deaths in a row came before it; the last one is for all that follow.
_DELAYS_SECONDS: Final = (0.0, 0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0)


class Child(Protocol):
    """What can be kept running: a server or a role."""

    @property
    def pid(self) -> int | None:
        """Its process."""
        ...

    @property
    def status(self) -> int | None:
        """Its exit status once it has ended, where that can be known."""
        ...

    def start(self) -> object:
        """Start it, or start it again; raises EmbeddedError."""
        ...

    def has_ended(self) -> bool:
        """Tell whether it is gone."""
        ...


@dataclass
class _Watched:
    child: Child
    pid: int | None
    started_at: float
    short_lives: int = 0
    restart_at: float | None = None


def restart_delay_seconds(short_lives: int) -> float:
    """Answer how long to wait before a start after `short_lives` deaths in a row that came at once."""
    return _DELAYS_SECONDS[min(short_lives, len(_DELAYS_SECONDS) - 1)]


class Supervisor:
    """Starts children in order and looks after them. It has no thread and no clock: call `tend` often.

    `now` is in seconds of any clock that never goes back.
    """

    def __init__(self, say: Callable[[str, str], None]) -> None:
        self._say = say
        self._watched: dict[str, _Watched] = {}

    @property
    def pids(self) -> dict[str, int | None]:
        """The processes as last started, by name."""
        return {name: watched.pid for name, watched in self._watched.items()}

    def start(self, name: str, child: Child, now: float) -> None:
        """Start a child and look after it from now on. Raises EmbeddedError when it does not start."""
        child.start()
        self._watched[name] = _Watched(child, child.pid, now)
        self._say(name, f"started, process {child.pid}")

    def ended(self) -> list[str]:
        """Name the children that are not running at this moment."""
        return [name for name, watched in self._watched.items() if watched.child.has_ended()]

    def tend(self, now: float) -> bool:
        """Start again whoever died and is due, in the order of the first start; tell whether a process changed."""
        changes = [self._tend_one(name, watched, now) for name, watched in self._watched.items()]
        return any(changes)

    def _tend_one(self, name: str, watched: _Watched, now: float) -> bool:
        if watched.restart_at is None:
            if not watched.child.has_ended():
                return False
            self._note_end(name, watched, now, f"process {watched.pid} ended with status {watched.child.status}")
        if watched.restart_at is None or now < watched.restart_at:
            return False
        watched.started_at = now
        try:
            watched.child.start()
        except EmbeddedError as error:
            self._note_end(name, watched, now, str(error))
            return False
        watched.pid, watched.restart_at = watched.child.pid, None
        self._say(name, f"started again, process {watched.pid}")
        return True

    def _note_end(self, name: str, watched: _Watched, now: float, what: str) -> None:
        lived_seconds = now - watched.started_at
        watched.short_lives = watched.short_lives + 1 if lived_seconds < _SHORT_LIFE_SECONDS else 0
        delay = restart_delay_seconds(watched.short_lives)
        watched.restart_at = now + delay
        self._say(name, f"{what}; starting it again in {delay:.1f} s" if delay else f"{what}; starting it again")
