"""What jobs counts of webhooks: attempts by what became of them, and what waits and since when."""

from collections.abc import AsyncIterator
from datetime import timedelta
from math import isnan

import pytest

from app.errors import ServiceError
from app.io.metrics import REGISTRY
from app.jobs.backlog import refresh_backlog
from app.wire.codes import Code
from tests.conftest import DatabaseUrls
from tests.webhooks.stage import Stage, open_stage, refuse, url

OUTCOMES = ("delivered", "failed", "parked")
TRACE = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"


@pytest.fixture
async def stage(urls: DatabaseUrls) -> AsyncIterator[Stage]:
    """A stage of the test's own."""
    async with open_stage(urls) as opened:
        yield opened


def attempts() -> dict[str, float]:
    """By what became of them."""
    name = "quotastack_webhook_attempts_total"
    return {outcome: REGISTRY.get_sample_value(name, {"outcome": outcome}) or 0 for outcome in OUTCOMES}


async def backlog(stage: Stage) -> tuple[float | None, ...]:
    """(deliveries that wait, seconds for which the first has been due)."""
    await refresh_backlog(stage.jobs, stage.clock.now())
    names = ("quotastack_webhook_deliveries_waiting", "quotastack_webhook_oldest_due_seconds")
    return tuple(REGISTRY.get_sample_value(name) for name in names)


async def test_attempts_are_counted_by_what_became_of_them(stage: Stage) -> None:
    """Each once, also those that nobody answered."""
    before = attempts()
    for name, status in (("good", 200), ("bad", 503), ("gone", None)):
        await stage.endpoint(name)
        if status != 200:
            stage.answers[url(name)] = refuse(status)
    await stage.tell("ada")
    await stage.delivered()
    after = attempts()
    assert {outcome: after[outcome] - before[outcome] for outcome in OUTCOMES} == {
        "delivered": 1,
        "failed": 2,
        "parked": 0,
    }


async def test_what_waits_is_told(stage: Stage) -> None:
    """How much, and for how long it has been due: not a later attempt, and not where an endpoint is off."""
    assert await backlog(stage) == (0, 0)
    await stage.endpoint("bad")
    stage.answers[url("bad")] = refuse(500)
    for end_user_id in ("ada", "ada", "ben"):
        await stage.tell(end_user_id)
    await stage.placed()
    stage.clock.at += timedelta(seconds=90)
    assert await backlog(stage) == (3, 90)
    await stage.delivered()
    assert await backlog(stage) == (3, 0)
    await stage.owned("UPDATE webhook_endpoints SET enabled = false, disabled_reason = 'gone', disabled_at = now()")
    stage.clock.at += timedelta(days=1)
    assert await backlog(stage) == (3, 0)


async def test_without_postgres_it_is_no_number(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """And figures are told all the same."""

    async def away(*_: object, **__: object) -> None:
        raise ServiceError(Code.STORE_UNAVAILABLE, "")

    monkeypatch.setattr(stage.jobs, "run", away)
    assert all(figure is not None and isnan(figure) for figure in await backlog(stage))


async def test_it_is_sent_in_the_trace_of_its_cause(stage: Stage) -> None:
    """The traceparent that the event has goes with every attempt; where it has none, none does."""
    await stage.endpoint("a")
    await stage.tell("ada")
    await stage.owned("UPDATE outbox SET traceparent = $1", TRACE)
    await stage.tell("ben")
    await stage.delivered()
    assert {sent.order[0]: sent.headers.get("traceparent") for sent in stage.sent} == {"ada": TRACE, "ben": None}
