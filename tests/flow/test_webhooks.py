"""Webhooks through all processes: whoever is killed and however receivers fail, each event arrives, in its order."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import asyncpg
import pytest

from loadtests.receiver import Behaviour, Ending, Received
from loadtests.receiving import running_receiver
from tests.flow.stack import Stack, open_session, running_stack
from tests.flow.webhooks import ENDPOINTS, Webhooks, require_in_order
from tests.waiting import wait_until_async

SEED = 20_261_127
GRANTS, KILLS = 24, 6
JOBS = ("jobs", "jobs_2")
FAILURES = (
    Behaviour(500, times=3),
    Behaviour(503, retry_after="1", times=3),
    Behaviour(302, times=2),
    Behaviour(ending=Ending.CUT, times=3),
    Behaviour(delay_seconds=0.2, times=20),
)
LEASE_SECONDS = 60
"""What a process that was killed had taken, nobody takes for as long."""


def came(path: str, sequence: int, status: int = 200, name: str | None = None) -> Received:
    """A delivery of an event of the one customer there is."""
    return Received(
        path, name or f"evt_{sequence}", "user_1", sequence, "credits.granted", 2, 1, status, is_genuine=True
    )


def told_event(sequence: int) -> dict[str, object]:
    """Its event in the feed."""
    return {"event_id": f"evt_{sequence}", "end_user_id": "user_1", "sequence": sequence, "type": "credits.granted"}


@pytest.mark.parametrize(
    "wrong",
    [
        [came("/steady", 1)],
        [came("/steady", 2)],
        [came("/steady", 1, 500), came("/steady", 2)],
        [came("/steady", 1, 0), came("/steady", 2)],
        [came("/steady", 1), came("/steady", 2), came("/steady", 1)],
        [came("/steady", 1), came("/steady", 2, name="evt_1")],
        [came("/steady", 1), came("/steady", 2, 500)],
    ],
    ids=["lost", "first lost", "overtaken", "unanswered", "back again", "another id", "not taken"],
)
def test_the_judge_sees_what_is_wrong(wrong: Sequence[Received]) -> None:
    """Everything that the law below forbids is found, and what it allows is not."""
    told = [told_event(1), told_event(2)]
    right = [came("/steady", 1, 500), came("/steady", 1), came("/steady", 1), came("/steady", 2, 0), came("/steady", 2)]
    others = [came(path, sequence) for path in ENDPOINTS[1:] for sequence in (1, 2)]
    require_in_order([*others, *right], told)
    for bad_received, bad_told in (([*others, *wrong], told), ([*others, *right], told[::-1])):
        with pytest.raises(AssertionError):
            require_in_order(bad_received, bad_told)


@asynccontextmanager
async def running_webhooks(directory: Path) -> AsyncIterator[tuple[Stack, Webhooks]]:
    """All processes, two of them jobs, and endpoints of a tenant at a receiver."""
    with running_receiver(directory) as receiver:
        async with running_stack(directory) as stack, open_session() as session:
            stack.add("jobs", JOBS[1])
            stack.start(JOBS[1])
            connection = await asyncpg.connect(stack.stores.database_url)
            try:
                webhooks = Webhooks(receiver, connection, await stack.tenant(session))
                await webhooks.listen()
                yield stack, webhooks
            finally:
                await connection.close()


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_every_event_arrives_in_order_whoever_is_killed(tmp_path: Path) -> None:
    """Two jobs processes, killed by turns while endpoints fail: nothing is lost, and nothing overtakes."""
    randomness = Random(SEED)
    async with running_webhooks(tmp_path) as (stack, webhooks):
        for number in range(KILLS):
            webhooks.behave("/steady", Behaviour())
            if number == KILLS // 2:
                await webhooks.rotate("/steady")
            webhooks.behave("/flaky", randomness.choice(FAILURES))
            webhooks.behave("/slow", Behaviour(delay_seconds=randomness.random()))
            before = len(webhooks.received())
            for _ in range(GRANTS // KILLS):
                await webhooks.happen(randomness)
            await webhooks.hurry()

            async def is_sending(before: int = before) -> bool:
                return len(webhooks.received()) > before + randomness.randrange(20)

            await wait_until_async(is_sending, LEASE_SECONDS + 30, "events to be sent")
            name = randomness.choice(JOBS)
            await stack.kill(name)
            stack.start(name)
        webhooks.behave("/slow", Behaviour())
        await webhooks.all_told(LEASE_SECONDS + 60)
        require_in_order(webhooks.received(), await webhooks.told())
