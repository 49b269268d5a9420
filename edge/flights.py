"""Many who want the same thing at once share one request for it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

Key = TypeVar("Key")
Result = TypeVar("Result")


class Flights(Generic[Key, Result]):
    """What is under way, by what it brings."""

    def __init__(self) -> None:
        self._tasks: dict[Key, asyncio.Task[Result]] = {}

    def __len__(self) -> int:
        """How many are under way."""
        return len(self._tasks)

    async def join(self, key: Key, start: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """The result of the request that is under way for `key`, or of a new one. Raises what it raises."""
        task = self._tasks.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(start())
            self._tasks[key] = task
            task.add_done_callback(lambda task: self._land(key, task))
        return await asyncio.shield(task)

    def _land(self, key: Key, task: asyncio.Task[Result]) -> None:
        """It is over. Where everybody who wanted it has gone meanwhile, its failure is nobody's, and no error."""
        del self._tasks[key]
        if not task.cancelled():
            task.exception()
