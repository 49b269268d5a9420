"""What a probe is, and what it gets to work with."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote, urlencode

from loadtests.load.book import NOTHING, Event, Total
from loadtests.load.client import Api, created, pages, until
from loadtests.load.judging import MICRO, Answer, read, to_micro


class Processes(Protocol):
    """The product's processes, where they are ours."""

    async def kill(self, name: str) -> None:
        """Kill -9 of one that runs; somebody starts it again."""
        ...


@dataclass(frozen=True)
class Target:
    """The running product, as the probes see it."""

    core: Api
    edge: Api
    open_edge: Callable[[], AbstractAsyncContextManager[Api]]
    """The edge over a connection that nobody used before: another worker's, perhaps."""
    run: str
    """Before the name of everything that is made."""
    feature_key: str
    """Costs a credit a unit."""
    seconds: float
    """How long the run takes: the probes spread over it."""
    seed: int
    kills: int = 0
    processes: Processes | None = None
    why_no_processes: str = "the processes are not ours to kill"

    def chance(self, name: str) -> Random:
        """A source of chance for one probe."""
        return Random(f"{self.seed}:{name}")  # noqa: S311 - with a seed, so that a run can be repeated

    async def pace(self, rounds: int, chance: Random | None = None) -> AsyncIterator[int]:
        """The numbers of so many rounds, spread evenly over the run, or at random in their part of it."""
        started_at = time.monotonic()
        for number in range(rounds):
            share = (number + (0.5 if chance is None else chance.random())) / rounds
            await asyncio.sleep(max(0.0, started_at + share * self.seconds - time.monotonic()))
            yield number

    async def make_customer(self, name: str, amount: int) -> str:
        """A new customer with so many credits; the id."""
        end_user_id = f"{self.run}_{name}"
        await created(self.core, "/v1/customers", {"end_user_id": end_user_id}, f"{end_user_id}:made")
        grant = {"end_user_id": end_user_id, "amount": amount}
        await created(self.core, "/v1/credits/grants", grant, f"{end_user_id}:granted")
        return end_user_id

    async def use(self, api: Api, event: Event) -> Answer:
        """Send one event until it is answered."""
        return await api.send("POST", "/v1/usage", event.body())

    async def check(self, api: Api, end_user_id: str) -> int:
        """What the customer can spend, as a check says, in millionths."""
        asked = urlencode({"end_user_id": end_user_id, "feature_key": self.feature_key})
        return to_micro(read(await api.send("GET", f"/v1/entitlements/check?{asked}"), 200)["balance"])

    async def drained(self, end_user_id: str) -> int:
        """What the ledger says that the customer has, in millionths, once nothing is pending."""
        path = f"/v1/customers/{quote(end_user_id, safe='')}/credits"

        async def look() -> Any:  # noqa: ANN401 - the answer's JSON
            body = read(await self.core.send("GET", path), 200)
            return body if body["pending"] == 0 else None

        body = await until(look, f"the usage of {end_user_id} to be posted")
        return to_micro(body["total"])

    async def posted(self, end_user_id: str) -> Total:
        """What the ledger says that the customer used."""
        asked = urlencode({"end_user_id": end_user_id, "feature_key": self.feature_key, "bucket": "total"})
        rows = await pages(self.core, f"/v1/usage?{asked}")
        return sum_of(Total(row["events"], row["units"]) for row in rows)

    async def require_books(self, end_user_id: str, left: int, used: Total) -> None:
        """Raise ProbeFailed where the ledger, once drained, has something else."""
        left_micro = await self.drained(end_user_id)
        posted = await self.posted(end_user_id)
        if (left_micro, posted) != (left * MICRO, used):
            raise ProbeFailed(
                f"the ledger has {left_micro / MICRO:g} credits left and {posted} used by {end_user_id}, "
                f"not {left} and {used}"
            )


class ProbeFailed(Exception):
    """The product did not do what it promises; says what it did."""


class Probe(NamedTuple):
    """A question to the product while it is under load."""

    name: str
    promise: str
    """What has to hold."""
    run: Callable[[Target], Awaitable[str]]
    """Answers what was seen, in figures. Raises ProbeFailed, Wrong or NoAnswer."""
    needs_processes: bool = False


def sum_of(totals: Iterable[Total]) -> Total:
    """Several totals as one."""
    events, units = NOTHING
    for total in totals:
        events, units = events + total.events, units + total.units
    return Total(events, units)
