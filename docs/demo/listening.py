"""Work that a reader listens to, and that ends in order when nobody listens any more."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, TypeVar

Event = TypeVar("Event")


class Listeners:
    """Tells readers what a piece of work yields.

    A web framework whose reader has left drops the generator that it streams from where it stands, and cancels again
    and again what that still waits for. So the work takes each step in a task of its own: when the reader leaves, the
    step under way is cancelled once, and what the work does in its `finally` has all the time that it takes.
    """

    def __init__(self) -> None:
        self._under_way: dict[AsyncGenerator[Any, None], asyncio.Task[Any]] = {}
        """The step that each piece of work is at."""
        self._ending: set[asyncio.Task[None]] = set()

    async def tell(self, work: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
        """What `work` yields, up to its end or until nobody listens."""
        self._under_way[work] = step = asyncio.create_task(_next(work))
        try:
            while (event := await asyncio.shield(step)) is not None:
                yield event
                if work not in self._under_way:
                    return
                self._under_way[work] = step = asyncio.create_task(_next(work))
        finally:
            self._leave(work)

    async def end(self) -> None:
        """End all work as if nobody listened to it any more, and wait until it has ended."""
        for work in list(self._under_way):
            self._leave(work)
        await asyncio.gather(*self._ending)

    def _leave(self, work: AsyncGenerator[Any, None]) -> None:
        """Nobody listens to it: it ends by itself, however long that takes."""
        step = self._under_way.pop(work, None)
        if step is not None:
            ending = asyncio.create_task(_end(step, work))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)


async def _next(work: AsyncGenerator[Event, None]) -> Event | None:
    return await anext(work, None)


async def _end(step: asyncio.Task[Any], work: AsyncGenerator[Any, None]) -> None:
    step.cancel()
    await asyncio.wait([step])
    await work.aclose()
