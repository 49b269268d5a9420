"""Batches posted at once: nobody's partitions are lost sight of, and no failure either."""

import asyncio

import pytest

from app.flusher.under_way import UnderWay


class Postings:
    """Batches that end when they are told to, well or badly."""

    def __init__(self) -> None:
        self.under_way = UnderWay()
        self._ends: dict[int, asyncio.Future[None]] = {}

    def start(self, *partitions: int) -> None:
        """A batch of these partitions; it is called by the first."""
        end = self._ends[partitions[0]] = asyncio.get_running_loop().create_future()

        async def post() -> None:
            await end

        self.under_way.start(post(), partitions)

    def end(self, name: int, error: Exception | None = None) -> None:
        """Let a batch end."""
        if error is None:
            self._ends[name].set_result(None)
        else:
            self._ends[name].set_exception(error)


async def test_partitions_are_those_of_what_is_not_done() -> None:
    """They are free again as soon as their batch was taken out."""
    postings = Postings()
    postings.start(1, 2)
    postings.start(3)
    assert postings.under_way.partitions == {1, 2, 3}
    postings.end(1)
    await postings.under_way.wait_until_at_most(1)
    assert postings.under_way.partitions == {3}
    postings.end(3)
    await postings.under_way.finish()
    assert not postings.under_way
    assert postings.under_way.partitions == frozenset()


async def test_whoever_waits_for_fewer_waits_for_no_more() -> None:
    """One that is done lets go on, whichever it is."""
    postings = Postings()
    for number in range(3):
        postings.start(number)
    waiting = asyncio.create_task(postings.under_way.wait_until_at_most(2))
    postings.end(1)
    await asyncio.wait_for(waiting, 10)
    assert postings.under_way.partitions == {0, 2}
    postings.end(0)
    postings.end(2)
    await postings.under_way.finish()


async def test_a_failure_is_raised_after_all_have_ended() -> None:
    """So nothing is under way any more when the caller begins anew."""
    postings = Postings()
    for number in range(3):
        postings.start(number)
    finishing = asyncio.create_task(postings.under_way.finish())
    postings.end(0, ValueError("the first"))
    postings.end(1, ValueError("the second"))
    await asyncio.sleep(0)
    assert not finishing.done()
    postings.end(2)
    with pytest.raises(ValueError, match="the first"):
        await finishing
    assert not postings.under_way
