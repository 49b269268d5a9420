"""Waiting that ends early: when we are told to stop, or when a child may have died."""

import os
import select
import signal
from types import FrameType
from typing import Final, Self

_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_BATCH_BYTES: Final = 4096


class StopSignal:
    """Turns SIGINT, SIGTERM and SIGHUP into an answer of `wait`, for as long as the context lasts."""

    def __init__(self) -> None:
        self._requested = False
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)

    def __enter__(self) -> Self:
        """Take the signals over."""
        for number in _STOP_SIGNALS:
            signal.signal(number, self._request)
        signal.signal(signal.SIGCHLD, self._wake)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        """Give the signals back."""
        signal.set_wakeup_fd(-1)
        for number in (*_STOP_SIGNALS, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.close(self._reader)
        os.close(self._writer)

    def wait(self, seconds: float) -> bool:
        """Wait at most `seconds`, less when any signal arrives; tell whether we are to stop."""
        if not self._requested and select.select([self._reader], [], [], seconds)[0]:
            os.read(self._reader, _BATCH_BYTES)
        return self._requested

    def _wake(self, _number: int, _frame: FrameType | None) -> None:
        """Do nothing: only a signal with a handler wakes `wait`."""

    def _request(self, _number: int, _frame: FrameType | None) -> None:
        self._requested = True
