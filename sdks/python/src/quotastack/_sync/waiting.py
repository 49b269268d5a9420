"""What waiting means in threads. Its twin `_async/waiting.py` says the same for event loops, both by hand."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from threading import Lock
from time import sleep
from typing import Any, TypeVar

__all__ = ["Background", "Lock", "home", "in_thread", "opened", "sleep", "to_the_end", "together", "within"]

Value = TypeVar("Value")
AT_ONCE = 8


def within(_seconds: float) -> nullcontext[None]:
    """A thread cannot be interrupted: connecting and each read have the limit, and who reads looks at the clock."""
    return nullcontext()


def home() -> object:
    """Whose connections may be used here: those of any thread."""
    return None


def in_thread(function: Callable[..., Value], *arguments: Any) -> Value:
    """What waits for a disk: this thread may."""
    return function(*arguments)


def together(*calls: Callable[[], Any]) -> list[Any]:
    """The answers of calls that are made at once; the first failure, where there is one."""
    with ThreadPoolExecutor(min(len(calls), AT_ONCE), "quotastack") as threads:
        return [future.result() for future in [threads.submit(call) for call in calls]]


def to_the_end(value: Value) -> Value:
    """A thread is never cancelled."""
    return value


def opened(value: Value) -> Value:
    """It is open already."""
    return value


class Background:
    """A thread that runs `turn` again and again, each time after a wait that it can be woken from."""

    def __init__(self, turn: Callable[[], float | None]) -> None:
        self._turn = turn
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._woken = threading.Event()
        self._is_stopping = False

    def start(self) -> None:
        """Begin, if it has not. The thread keeps no process alive: at its exit the spool takes what is left."""
        with self._starting:
            if self._thread is None and not self._is_stopping:
                self._thread = threading.Thread(target=self._run, name="quotastack", daemon=True)
                self._thread.start()

    def wake(self) -> None:
        """Have the next turn now."""
        self._woken.set()

    def _run(self) -> None:
        while not self._is_stopping:
            seconds = self._turn()
            self._woken.wait(seconds)
            self._woken.clear()

    def stop(self) -> None:
        """No turn begins any more, and the last one is over."""
        self._is_stopping = True
        self._woken.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
