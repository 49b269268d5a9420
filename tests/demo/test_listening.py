"""Work that is listened to ends in order, however its listener leaves."""

import asyncio
from collections.abc import AsyncGenerator

import anyio
import pytest

from docs.demo.listening import Listeners

MANY = 1_000


class Work:
    """Counts; and at its end it has something to await, as a commit is."""

    def __init__(self) -> None:
        self.counted = 0
        self.settled: int | None = None

    async def run(self, most: int) -> AsyncGenerator[int, None]:
        """Up to `most`."""
        try:
            while self.counted < most:
                await asyncio.sleep(0)
                self.counted += 1
                yield self.counted
        finally:
            for _ in range(10):
                await asyncio.sleep(0)
            self.settled = self.counted


async def test_a_listener_who_stays_hears_everything() -> None:
    """In order, and the work ends once."""
    listeners, work = Listeners(), Work()
    assert [number async for number in listeners.tell(work.run(5))] == [1, 2, 3, 4, 5]
    await listeners.end()
    assert work.settled == 5


async def test_a_listener_who_is_dropped_ends_the_work() -> None:
    """As a framework does that forgets the generator in the middle: no more is counted, and all is settled."""
    listeners, work = Listeners(), Work()
    telling = listeners.tell(work.run(MANY))
    assert [await anext(telling) for _ in range(3)] == [1, 2, 3]
    await telling.aclose()
    await listeners.end()
    assert work.settled == work.counted
    assert 3 <= work.counted <= 4


@pytest.mark.parametrize("patience", range(1, 40, 3))
async def test_a_listener_who_is_cancelled_over_and_over_ends_the_work(patience: int) -> None:
    """As anyio does with all that runs in a scope that is cancelled, at whatever point."""
    listeners, work = Listeners(), Work()
    telling = listeners.tell(work.run(MANY))

    async def listen() -> None:
        async for _ in telling:
            pass

    async with anyio.create_task_group() as group:
        group.start_soon(listen)
        for _ in range(patience):
            await asyncio.sleep(0)
        group.cancel_scope.cancel()
    await telling.aclose()
    await listeners.end()
    assert work.settled == work.counted < MANY


@pytest.mark.parametrize("heard", [1, 5])
async def test_all_work_ends_when_it_is_to(heard: int) -> None:
    """What is listened to, and what waits for a listener who is slow: each is settled, and tells no more."""
    listeners = Listeners()
    listened, waiting = Work(), Work()
    first, second = listeners.tell(listened.run(MANY)), listeners.tell(waiting.run(MANY))
    for _ in range(heard):
        await anext(first)
        await anext(second)
    under_way = asyncio.ensure_future(anext(first, None))
    await asyncio.sleep(0)
    await listeners.end()
    assert listened.settled == listened.counted < MANY
    assert waiting.settled == waiting.counted == heard
    assert await anext(second, None) is None
    await asyncio.wait([under_way])
    await listeners.end()


async def test_what_goes_wrong_in_the_work_reaches_the_listener() -> None:
    """And nobody waits for an event that will never come."""

    async def fail() -> AsyncGenerator[int, None]:
        yield 1
        raise LookupError("no more")

    listeners = Listeners()
    telling = listeners.tell(fail())
    assert await anext(telling) == 1
    with pytest.raises(LookupError, match="no more"):
        await anext(telling)
    await listeners.end()
