"""Edges follow each action before its answer: a thousand random ones, on customers whose time goes by (45)."""

import asyncio

import pytest

from app.ledger.verify import verify
from tests.app.core import Core, Tenant
from tests.app.subscriptions.following import PATHS, Follower
from tests.conftest import DatabaseUrls

pytestmark = pytest.mark.usefixtures("flusher")
CUSTOMERS, ROUNDS, SEED = 10, 100, 7


@pytest.mark.slow
async def test_a_thousand_actions(core: Core, tenant: Tenant, urls: DatabaseUrls) -> None:
    """Status, standing, plan version, add-ons and balance at the edge are those of the answer; verify finds nothing."""
    follower, names = Follower(core, tenant, SEED), [f"u{number}" for number in range(CUSTOMERS)]
    await follower.prepare()
    for number in range(ROUNDS):
        await asyncio.gather(*(follower.act(name) for name in names))
        if number % 4 == 3:
            await follower.advance()
            await asyncio.gather(*(follower.look(name) for name in names))
        if number % 10 == 9:
            await follower.publish()
    assert sum(follower.answers.values()) == CUSTOMERS * ROUNDS
    assert {kind for kind, status in follower.answers if status < 300} >= {*PATHS, "subscribe", "credit"}
    report = await verify(urls.owner, core.parts.redis, None, None)
    assert [found.finding for found in report.findings] == []
