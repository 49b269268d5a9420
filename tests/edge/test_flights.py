"""Requests that are shared: one for all who wait, whoever of them goes."""

import asyncio
import gc
from typing import Any

import pytest

from edge.flights import Flights


class Lost(Exception):
    """What a request ends with."""


class Request:
    """One that is under way until it is told how it ends; it counts how often it was begun."""

    def __init__(self) -> None:
        self.begun = 0
        self.is_under_way = asyncio.Event()
        self.end: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def run(self) -> str:
        """Begin it."""
        self.begun += 1
        self.is_under_way.set()
        return await self.end


async def test_who_comes_meanwhile_shares_it() -> None:
    """One request for all who want the same, another one once it is over."""
    flights: Flights[str, str] = Flights()
    request, again = Request(), Request()
    waiting = [asyncio.create_task(flights.join("it", request.run)) for _ in range(3)]
    await request.is_under_way.wait()
    assert (request.begun, len(flights)) == (1, 1)
    request.end.set_result("there")
    assert await asyncio.gather(*waiting) == ["there"] * 3
    assert len(flights) == 0
    again.end.set_result("anew")
    assert await flights.join("it", again.run) == "anew"


async def test_who_goes_takes_it_from_nobody() -> None:
    """It goes on for those who stay, and they hear how it failed."""
    flights: Flights[str, str] = Flights()
    request = Request()
    gone, stays = (asyncio.create_task(flights.join("it", request.run)) for _ in range(2))
    await request.is_under_way.wait()
    gone.cancel()
    request.end.set_exception(Lost())
    with pytest.raises(Lost):
        await stays
    assert gone.cancelled()


async def test_a_failure_that_nobody_waits_for_is_no_error() -> None:
    """As when clients hang up, or the process stops: who asks has told of it already."""
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    flights: Flights[str, str] = Flights()
    request = Request()
    gone = asyncio.create_task(flights.join("it", request.run))
    await request.is_under_way.wait()
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    request.end.set_exception(Lost())
    await asyncio.sleep(0)  # it hears of that
    await asyncio.sleep(0)  # and is over
    assert len(flights) == 0
    del gone, request
    gc.collect()
    assert told == []
