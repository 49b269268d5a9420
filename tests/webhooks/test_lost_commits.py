"""Postgres commits what attempts came to, and jobs never hear of it: as when a connection ends at that moment."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from functools import partial
from random import Random
from typing import TypeVar
from uuid import UUID

import pytest

from app.errors import ServiceError
from app.io.postgres import Database, Transaction
from app.jobs import recorder
from app.webhooks.recording import record
from app.wire.codes import Code
from tests.conftest import DatabaseUrls
from tests.webhooks.stage import Stage, open_stage, refuse, url

Result = TypeVar("Result")
EVENTS, CUSTOMERS = 60, ("ada", "ben", None)


class Broken(Database):
    """The same database, for everything but writing down what attempts came to."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(  # type: ignore[override]
        self, environment_id: UUID | None, work: Callable[[Transaction], Awaitable[Result]]
    ) -> Result:
        """Run the work, or fail as no store does."""
        if isinstance(work, partial) and work.func is record:
            raise LookupError("a mistake of our own")
        return await self._database.run(environment_id, work)


class Losing(Database):
    """The same database; sometimes it does not say that attempts were written down."""

    def __init__(self, database: Database, loses: Callable[[], bool]) -> None:
        self._database = database
        self._loses = loses
        self.lost = 0

    async def run(  # type: ignore[override]
        self, environment_id: UUID | None, work: Callable[[Transaction], Awaitable[Result]]
    ) -> Result:
        """Run the work, and perhaps keep to oneself what came of it."""
        result = await self._database.run(environment_id, work)
        if isinstance(work, partial) and work.func is record and self._loses():
            self.lost += 1
            raise ServiceError(Code.STORE_UNAVAILABLE, "the connection ended")
        return result


@pytest.fixture
async def stage(urls: DatabaseUrls) -> AsyncIterator[Stage]:
    """A stage of the test's own."""
    async with open_stage(urls) as opened:
        yield opened


@pytest.mark.parametrize("seed", range(3))
async def test_what_was_committed_unheard_is_done_once(
    stage: Stage, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written stays as it is: each event arrives once, in order, with each attempt written down once."""
    monkeypatch.setattr(recorder, "REST_SECONDS", 0)
    chance = Random(seed)
    stage.jobs = losing = Losing(stage.jobs, lambda: chance.random() < 0.5)
    await stage.endpoint("a")
    await stage.endpoint("b")
    stage.answers[url("b")] = refuse(500)
    for number in range(EVENTS):
        await stage.tell(chance.choice(CUSTOMERS), number=number)
    await stage.delivered()
    stage.answers.clear()
    await stage.moved(timedelta(hours=1))
    assert losing.lost
    assert {state for state, _ in await stage.states()} == {"delivered"}
    await stage.waiting_is_right()
    refused = len({whose for whose, _ in (each.order for each in stage.sent)})
    assert len(stage.sent) == 2 * EVENTS + refused
    for address in (url("a"), url("b")):
        _require_order([each.order for each in stage.sent if each.url == address])
    assert not await stage.owned(
        "SELECT 1 FROM webhook_deliveries d WHERE d.attempts <> (SELECT count(*) FROM webhook_attempts a "
        "WHERE a.environment_id = d.environment_id AND a.delivery_id = d.id)"
    )


def _require_order(order: list[tuple[str | None, int]]) -> None:
    last: dict[str | None, int] = {}
    for whose, sequence in order:
        assert sequence - last.get(whose, 0) in {0, 1}
        last[whose] = sequence
    assert sum(last.values()) == EVENTS


async def test_jobs_do_not_outlive_the_recorder(stage: Stage) -> None:
    """A mistake while attempts are written down ends the process, which is started anew, and not all delivering."""
    stage.jobs = Broken(stage.jobs)
    await stage.endpoint("a")
    await stage.tell("ada")
    await stage.placed()
    async with stage.delivering() as tasks:
        with pytest.raises(ExceptionGroup) as ended:
            await asyncio.wait_for(tasks[0], timeout=10)
        assert ended.group_contains(LookupError, match="a mistake of our own")
