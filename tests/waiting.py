"""The one place in the tests that sleeps: between two looks at a condition that is to come true."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

Value = TypeVar("Value")

INTERVAL_SECONDS = 0.02


def wait_until(condition: Callable[[], Value | None], seconds: float, what: str) -> Value:
    """The first true answer of `condition`; AssertionError naming `what` when there is none within `seconds`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain: {what}"
        time.sleep(INTERVAL_SECONDS)
    return value


async def wait_until_async(condition: Callable[[], Awaitable[Value | None]], seconds: float, what: str) -> Value:
    """The same for a condition that is awaited; the event loop runs on between two looks."""
    deadline = time.monotonic() + seconds
    while not (value := await condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain: {what}"
        await asyncio.sleep(INTERVAL_SECONDS)
    return value
