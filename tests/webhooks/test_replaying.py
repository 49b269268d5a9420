"""Ranges of feeds that are queued again: whoever asks for much does not keep others from their turn."""

from datetime import timedelta
from uuid import UUID

import pytest

from app.jobs.replays import Replays
from app.webhooks import replaying, service
from app.webhooks.schemas import NewReplay
from app.wire.ids import show
from tests.conftest import DatabaseUrls
from tests.webhooks.stage import BEGINNING, Stage, open_stage

EVENTS = 4


async def ask(stage: Stage, environment_id: UUID, replays: int) -> None:
    """An environment wants all that was told once more, so many times."""
    for _ in range(EVENTS):
        await stage.tell("ada", environment_id=environment_id)
    await stage.placed()
    stage.clock.at += timedelta(seconds=1)
    for number in range(replays):
        endpoint_id = await stage.endpoint(f"{environment_id}-{number}", environment_id=environment_id)
        asked = NewReplay(show("whe", endpoint_id), since=BEGINNING, until=stage.clock.now())
        await stage.core.run(environment_id, lambda tx, asked=asked: service.replay(tx, asked, stage.clock.now()))


@pytest.mark.parametrize("is_first", [True, False])
async def test_environments_have_their_turns(
    urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch, *, is_first: bool
) -> None:
    """Who asks for little is served as soon as if the other, who asked for much, and first, had asked for little."""
    monkeypatch.setattr(replaying, "EVENTS_A_STEP", 1)
    async with open_stage(urls) as stage:
        much, little = sorted([stage.environment_id, stage.other_id], reverse=not is_first)
        await ask(stage, much, 3)
        await ask(stage, little, 1)
        replays = Replays(stage.jobs, stage.clock)
        for _ in range(2 * EVENTS):
            assert await replays.round(stage.clock.now())
        rows = await stage.owned("SELECT environment_id, count(*) FROM webhook_deliveries GROUP BY 1")
        assert dict(rows) == {much: EVENTS, little: EVENTS}
        while await replays.round(stage.clock.now()):
            pass
        rows = await stage.owned("SELECT environment_id, count(*) FROM webhook_deliveries GROUP BY 1")
        assert dict(rows) == {much: 3 * EVENTS, little: EVENTS}
        assert not await stage.owned("SELECT 1 FROM webhook_replays")
