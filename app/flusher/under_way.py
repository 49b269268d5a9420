"""Batches that are being posted at once: each in a task of its own, no partition in two of them."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

import structlog

log: Any = structlog.get_logger()


class UnderWay:
    """The tasks, by the partitions that each has. What one of them raises is raised by whoever looks next."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[None], frozenset[int]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def partitions(self) -> frozenset[int]:
        """Those that must not be read meanwhile: their cursors are about to move."""
        return frozenset[int]().union(*self._tasks.values())

    def start(self, posting: Coroutine[None, None, None], partitions: Iterable[int]) -> None:
        """Begin to post; `partitions` are none of those that are under way."""
        self._tasks[asyncio.create_task(posting)] = frozenset(partitions)

    async def wait_until_at_most(self, count: int) -> None:
        """Go on when no more than `count` are left. Raises what one raised."""
        while len(self._tasks) > count:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            self.take_out_done()

    def take_out_done(self) -> None:
        """Forget those that are done. Raises what the first that failed raised; the others' errors are logged."""
        done = [task for task in self._tasks if task.done()]
        for task in done:
            del self._tasks[task]
        failures = [error for task in done if (error := task.exception())]
        for error in failures[1:]:
            log.error("batch_failed", error=str(error), kind=type(error).__name__)
        if failures:
            raise failures[0]

    async def finish(self) -> None:
        """Wait for all. Raises what the first that failed raised."""
        if self._tasks:
            await asyncio.wait(self._tasks)
        self.take_out_done()

    async def finish_after(self, error: BaseException) -> None:
        """Wait for all, when something failed already: what else fails is logged, so that it does not hide that."""
        try:
            await self.finish()
        except Exception as other:  # noqa: BLE001 - whatever it is, the first error goes on
            log.error("batch_failed", error=str(other), kind=type(other).__name__, after=type(error).__name__)  # noqa: TRY400
