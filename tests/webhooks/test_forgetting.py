"""What was told long ago is forgotten, and nothing that is still to be told."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import pytest

from app.jobs.forget import Forgetter
from app.rules.moments import to_at
from app.webhooks import pruning
from app.webhooks.deciding import KEPT, Attempt, fate_after
from app.webhooks.pruning import OF_A_QUEUE
from app.webhooks.recording import Outcome, record, take
from app.webhooks.store import Asked
from tests.conftest import DatabaseUrls
from tests.webhooks.stage import Stage, open_stage, refuse, url

DAY = timedelta(days=1)
DELETE_ENDPOINT = """
    UPDATE webhook_endpoints SET deleted_at = $2, enabled = false, disabled_reason = 'asked', disabled_at = $2
    WHERE id = $1
"""


@pytest.fixture
async def stage(urls: DatabaseUrls) -> AsyncIterator[Stage]:
    """A stage of the test's own."""
    async with open_stage(urls) as opened:
        yield opened


async def forget(stage: Stage) -> None:
    """A round of jobs."""
    await Forgetter(stage.jobs, stage.clock).round(asyncio.Event())


async def count(stage: Stage) -> dict[str, int]:
    """How many rows there are."""
    tables = ("outbox", "webhook_deliveries", "webhook_attempts", "webhook_queues", "webhook_endpoints")
    found = {}
    for table in tables:
        [row] = await stage.owned(f"SELECT count(*) AS n FROM {table}")  # noqa: S608 - names from above
        found[table.removeprefix("webhook_")] = row["n"]
    return found


async def test_what_was_delivered_long_ago_goes(stage: Stage) -> None:
    """With its attempts and its event; what was told since stays, and so do the numbers."""
    await stage.endpoint("a")
    for _ in range(2):
        await stage.tell("ada")
    await stage.delivered()
    stage.clock.at += KEPT
    await stage.tell("ada")
    await stage.delivered()
    await forget(stage)
    assert (await count(stage))["outbox"] == 3
    stage.clock.at += DAY
    await forget(stage)
    assert await count(stage) == {"outbox": 1, "deliveries": 1, "attempts": 1, "queues": 0, "endpoints": 1}
    await stage.tell("ada")
    await stage.delivered()
    assert stage.sent[-1].order == ("ada", 4)


async def test_what_waits_is_kept_however_old_it_is(stage: Stage) -> None:
    """Until its endpoint has been disabled for as long as events are kept; then nothing of it is left to send."""
    endpoint_id = await stage.endpoint("a")
    for customer in ("ada", "ada", "ben"):
        await stage.tell(customer)
    await stage.placed()
    stage.clock.at += 2 * KEPT
    await forget(stage)
    assert (await count(stage))["deliveries"] == 3
    statement = (
        "UPDATE webhook_endpoints SET enabled = false, disabled_reason = 'asked', disabled_at = $2 WHERE id = $1"
    )
    await stage.owned(statement, endpoint_id, stage.clock.now())
    await forget(stage)
    assert (await count(stage))["deliveries"] == 3
    await stage.waiting_is_right()
    stage.clock.at += KEPT + DAY
    await stage.tell("ada")
    await stage.placed()
    await forget(stage)
    assert await count(stage) == {"outbox": 1, "deliveries": 0, "attempts": 0, "queues": 0, "endpoints": 1}


async def test_a_deleted_endpoint_goes_with_all_that_is_of_it(stage: Stage) -> None:
    """What waits goes at once, what was sent when it is old, and then the endpoint."""
    endpoint_id = await stage.endpoint("a")
    await stage.tell("ada")
    await stage.delivered()
    stage.answers[url("a")] = refuse(500)
    for _ in range(3):
        await stage.tell("ada")
    await stage.delivered()
    await stage.owned(DELETE_ENDPOINT, endpoint_id, stage.clock.now())
    await forget(stage)
    found = await count(stage)
    assert (found["deliveries"], found["queues"], found["endpoints"]) == (1, 0, 1)
    stage.clock.at += KEPT + DAY
    await forget(stage)
    assert await count(stage) == dict.fromkeys(found, 0)


async def test_what_is_under_way_at_a_deleted_endpoint_has_no_place_any_more(stage: Stage) -> None:
    """Its queue is taken from whoever has it, also where one step does not drop all that waits."""
    endpoint_id = await stage.endpoint("a")
    for _ in range(OF_A_QUEUE + 2):
        await stage.tell("ada")
    await stage.placed()
    now = stage.clock.now()
    [head] = await stage.jobs.run(None, lambda tx: take(tx, Asked(uuid4(), 9, 1, {}, 9, {}), now))
    await stage.owned(DELETE_ENDPOINT, endpoint_id, now)
    assert await stage.jobs.run(None, lambda tx: pruning.forget(tx, stage.environment_id, now))
    assert (await count(stage))["deliveries"] == 2
    attempt = Attempt(to_at(now), 200, None, None, 5, None)
    outcome = Outcome(head, attempt, fate_after(attempt, head.number, 0), goes_on=True)
    assert await stage.jobs.run(None, lambda tx: record(tx, [outcome], now)) == {}
    await forget(stage)
    assert (await count(stage))["deliveries"] == 0
