"""Waiting for what was sent and never waited for: when a load generator stops, its last requests are under way."""

import time
from collections.abc import Callable
from typing import TypeVar

from loadtests.measuring import WrongResult

Books = TypeVar("Books")

LOOK_SECONDS = 0.1
MOST_LOOKS = 50


def settled(look: Callable[[], Books]) -> Books:
    """What two looks in a row see alike. Raises WrongResult where that does not happen."""
    before = look()
    for _ in range(MOST_LOOKS):
        time.sleep(LOOK_SECONDS)
        now = look()
        if now == before:
            return now
        before = now
    raise WrongResult("events still come in although nobody sends any")
