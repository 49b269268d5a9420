"""What the flusher counts of its batches, and how it says whether its turns go well."""

import asyncio

import pytest

from app.flusher import loop, metrics
from app.flusher.loop import Flusher, Keeping
from app.flusher.posting import Posting, RejectedEntry
from app.io.metrics import REGISTRY
from app.io.postgres import Database
from app.io.redis import RedisUnavailable
from app.io.stream import StreamConnection
from tests.flusher.world import AGREEMENT, World


def figure(name: str, **labels: str) -> float:
    """What is counted by now."""
    return REGISTRY.get_sample_value(name, labels) or 0


def rejected(code: str) -> RejectedEntry:
    """An entry that was rejected with this code."""
    return RejectedEntry(b"", (1, 1), None, code, "", b"")


def test_codes_have_a_bound() -> None:
    """Those of this release are labels; whatever else an entry names is one label."""
    before = {code: figure("quotastack_flusher_rejected_total", code=code) for code in ("unknown_feature", "other")}
    metrics.count_batch(9, Posting({}, rejected=[rejected(c) for c in ("unknown_feature", "invented 1", "invented 2")]))
    after = {code: figure("quotastack_flusher_rejected_total", code=code) for code in before}
    assert {code: after[code] - before[code] for code in before} == {"unknown_feature": 1, "other": 2}
    assert figure("quotastack_flusher_rejected_total", code="invented 1") == 0


async def test_it_is_ready_while_turns_go_well(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not before the first, then from turn to turn; once none has gone well for long, it says what the last met."""
    database = await Database.open(world.urls["quotastack_flusher"], "test", 2)
    stream = await StreamConnection.connect(world.redis_url, AGREEMENT)
    flusher = Flusher(database, stream, world.clock, Keeping(0, 1000), "UTC")
    stop = asyncio.Event()

    async def went_well(_: asyncio.Event) -> None:
        await asyncio.sleep(0)
        stop.set()

    async def failed(_: asyncio.Event) -> None:
        stop.set()
        raise RedisUnavailable

    try:
        starting = await flusher.ready()
        assert (starting.status, starting.complaint[:27]) == ("unavailable", "turns: None has ended yet. ")
        monkeypatch.setattr(flusher, "_turn", went_well)
        await flusher.run(stop)
        assert (await flusher.ready()).status == "ready"
        failures = figure("quotastack_flusher_failed_turns_total")
        monkeypatch.setattr(flusher, "_turn", failed)
        stop.clear()
        await flusher.run(stop)
        assert figure("quotastack_flusher_failed_turns_total") == failures + 1
        assert (await flusher.ready()).status == "ready"
        monkeypatch.setattr(loop, "QUIET_SECONDS", -1)
        report = await flusher.ready()
        assert report.status == "unavailable"
        assert "RedisError" in report.complaint
    finally:
        await stream.close()
        await database.close()
