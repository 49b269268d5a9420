"""A clock that is sent far: in steps, each posted before the next, and the same request goes on where one gave up."""

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from app.rules.moments import to_at
from app.test_clocks import settling
from app.test_clocks.settling import STEP, next_stop
from app.test_clocks.store import Way
from app.wire import keys
from app.wire.codes import Code
from tests.app.core import PARTITIONS
from tests.app.subscriptions.studio import Studio, later
from tests.app.web.test_problems import assert_problem

BEGINNING = datetime.fromisoformat("2026-11-27T09:30:00Z")
DAY = timedelta(days=1)
DAILY: list[dict[str, Any]] = [{"key": f"grant_{number}", "amount": 5, "interval": "day"} for number in range(20)]
MONTHLY: dict[str, Any] = {"interval": "month", "interval_count": 1, "billing_mode": "postpaid"}


@pytest.mark.parametrize(
    ("due_at", "stop_at"),
    [
        (None, 400 * DAY),
        (-DAY, timedelta()),
        (timedelta(), timedelta()),
        (DAY, DAY + STEP),
        (380 * DAY, 400 * DAY),
        (500 * DAY, 400 * DAY),
    ],
)
def test_where_it_stops(due_at: timedelta | None, stop_at: timedelta) -> None:
    """A step behind what is due first, never beyond the end; what is due by now is posted where it stands."""
    way = Way(BEGINNING, BEGINNING + 400 * DAY)
    assert next_stop(way, None if due_at is None else BEGINNING + due_at) == BEGINNING + stop_at


async def moments_of_ticks(studio: Studio) -> list[int]:
    """When the customer was ticked, in the order of the stream."""
    ref = keys.account_ref(keys.environment_ref(studio.tenant.environment_id), "u")
    entries = await studio.core.parts.redis.client.xrange(keys.stream(keys.partition_of(ref, PARTITIONS)))
    return [int(fields[b"t"]) for _, fields in entries if fields[b"a"] == ref and fields[b"k"] == b"t"]


async def test_many_grants_a_day(studio: Studio) -> None:
    """No tick has more than a step to post, each grant comes at its moment, and only those of the last day are left."""
    variant = await studio.plan("pro", 0, **MONTHLY, grants=DAILY)
    await studio.subscribe(variant)
    begun_at = await studio.now()
    await studio.pass_days(100)
    assert await studio.total() == 100
    ticked = [to_at(begun_at), *await moments_of_ticks(studio)]
    longest = max(after - before for before, after in pairwise(ticked))
    assert ticked == sorted(ticked)
    assert timedelta(microseconds=longest) <= STEP + DAY
    told = await studio.told("credits.granted")
    granted = [datetime.fromisoformat(body["granted_at"]) for body in told]
    assert granted == [begun_at + number * DAY for number in range(101) for _ in DAILY]


async def test_ten_years(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the request has to be made, every month has had its period and its credit."""
    monkeypatch.setattr(settling, "SETTLE_SECONDS", 0.5)
    made = await studio.subscribe(await studio.plan("pro", 0, **MONTHLY, grants=[{"amount": 7, "interval": "month"}]))
    begun_at, times = await studio.now(), 0
    to = begun_at.replace(year=begun_at.year + 10, day=1)
    while (answer := await studio.client.post("/v1/test-clock/advance", {"to": to.isoformat()})).status_code != 200:
        assert_problem(answer, Code.TEST_CLOCK_ADVANCING)
        stands_at = await studio.now()
        assert begun_at <= stands_at <= to
        times += 1
        assert times < 200, stands_at
    assert times > 0, "the way was not long enough to say anything"
    shown = await studio.show(made)
    assert (shown["state"], await studio.total(), await studio.now()) == ("active", 7, to)
    assert later(shown["period_start"]) <= to < later(shown["period_end"])
    assert len(await studio.told("subscription.renewed")) == shown["period_index"] in {119, 120}
