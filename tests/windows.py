"""Work that has to be done within one window of a rate limit."""

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from app.wire.rates import RateLimits

Result = TypeVar("Result")


async def within_one_window(limits: RateLimits, work: Callable[[], Awaitable[Result]]) -> Result:
    """What comes of it; done once more where a window ended meanwhile: two in a row do not, where windows are long."""

    def window() -> int:
        return limits.window_at(time.time_ns() // 1000)

    before = window()
    result = await work()
    return result if window() == before else await work()
