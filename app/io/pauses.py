"""Waiting for what another process is about to do."""

import asyncio
from collections.abc import AsyncIterator

FIRST_SECONDS = 0.002
LONGEST_SECONDS = 0.05


async def pauses(seconds: float) -> AsyncIterator[None]:
    """Growing pauses between tries, the first of them none, `seconds` in all; the last try comes after them."""
    deadline = asyncio.get_running_loop().time() + seconds
    pause_seconds = FIRST_SECONDS
    yield
    while asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(pause_seconds)
        yield
        pause_seconds = min(2 * pause_seconds, LONGEST_SECONDS)
