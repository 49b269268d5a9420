"""What waiting means on an event loop. Its twin `_sync/waiting.py` says the same for threads, by hand."""

import asyncio
from asyncio import Lock, sleep
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType
from typing import Any, Generic, TypeVar

__all__ = ["Background", "Lock", "Opening", "home", "in_thread", "opened", "sleep", "to_the_end", "together", "within"]

Value = TypeVar("Value")
Handle = TypeVar("Handle", bound=AbstractAsyncContextManager[Any])
_kept: set[asyncio.Task[Any]] = set()
"""Tasks that nobody else refers to."""


def within(seconds: float) -> asyncio.Timeout:
    """A context whose body raises TimeoutError after so long."""
    return asyncio.timeout(seconds)


def home() -> object:
    """Whose connections may be used here: those of this loop."""
    return asyncio.get_running_loop()


async def in_thread(function: Callable[..., Value], *arguments: Any) -> Value:
    """What waits for a disk."""
    return await asyncio.to_thread(function, *arguments)


async def together(*calls: Callable[[], Awaitable[Any]]) -> list[Any]:
    """The answers of calls that are made at once; the first failure, where there is one."""
    return await asyncio.gather(*[call() for call in calls])


async def to_the_end(work: Coroutine[Any, Any, Value]) -> Value:
    """Await it; whoever is cancelled meanwhile goes, and the work goes on."""
    task = asyncio.create_task(work)
    _kept.add(task)
    task.add_done_callback(_kept.discard)
    return await asyncio.shield(task)


class Opening(Generic[Handle]):
    """A handle that is being opened: `await` it, or go into it with `async with`."""

    def __init__(self, work: Coroutine[Any, Any, Handle]) -> None:
        self._work = work
        self._handle: Handle | None = None

    def __await__(self) -> Generator[Any, None, Handle]:
        return self._work.__await__()

    async def __aenter__(self) -> Handle:
        self._handle = await self._work
        await self._handle.__aenter__()
        return self._handle

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            await self._handle.__aexit__(kind, error, trace)


def opened(work: Coroutine[Any, Any, Handle]) -> Opening[Handle]:
    """What is awaited, or gone into."""
    return Opening(work)


class Background:
    """A task that runs `turn` again and again, each time after a wait that it can be woken from."""

    def __init__(self, turn: Callable[[], Awaitable[float | None]]) -> None:
        self._turn = turn
        self._task: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        self._is_stopping = False

    def start(self) -> None:
        """Begin, if it has not and there is a loop to run on; on a new loop begin anew."""
        with suppress(RuntimeError):  # no loop runs yet: what is awaited first begins it
            loop = asyncio.get_running_loop()
            if not self._is_stopping and not self._runs_on(loop):
                self._woken = asyncio.Event()
                self._task = loop.create_task(self._run())

    def _runs_on(self, loop: asyncio.AbstractEventLoop) -> bool:
        return self._task is not None and not self._task.done() and self._task.get_loop() is loop

    def wake(self) -> None:
        """Have the next turn now."""
        self._woken.set()

    async def _run(self) -> None:
        while not self._is_stopping:
            seconds = await self._turn()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), seconds)
            self._woken.clear()

    async def stop(self) -> None:
        """No turn begins any more, and the last one is over."""
        self._is_stopping = True
        self._woken.set()
        if self._task is not None and self._runs_on(asyncio.get_running_loop()):
            await asyncio.wait([self._task])  # which is not cancelled where the task was
        self._task = None
