"""A sandbox whose time stands still: moving it on does at once what time would have done, at the very same moments."""

import asyncio
import re
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.flow.stack import Answer, Stack, Tenant, make_catalogue
from tests.flow.test_voids import balance
from tests.programs import program
from tests.waiting import wait_until_async

GUIDE = (Path(__file__).parents[2] / "docs" / "test-clock.md").read_text()
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


async def frozen(tenant: Tenant) -> datetime:
    """Where the sandbox's time stands from now on."""
    answer = await tenant.core.post("/v1/test-clock/freeze", {})
    assert answer.status == HTTPStatus.OK, answer.body
    return datetime.fromisoformat(answer.body["frozen_at"])


async def advance(tenant: Tenant, to: datetime) -> Answer:
    """Move the clock on."""
    answer = await tenant.core.post("/v1/test-clock/advance", {"to": to.isoformat()})
    assert answer.status == HTTPStatus.OK, answer.body
    return answer


async def grant(tenant: Tenant, amount: int, expires_at: datetime | None = None, **more: Any) -> None:
    """Credit of `u`."""
    expiry = {} if expires_at is None else {"expires_at": expires_at.isoformat()}
    await tenant.core.created("/v1/credits/grants", {"end_user_id": "u", "amount": amount, **expiry, **more})


async def reserve(tenant: Tenant, units: int, ttl_seconds: int) -> str:
    """A reservation of `u`; its path."""
    body = {"end_user_id": "u", "feature_key": "api_calls", "units": units, "ttl_seconds": ttl_seconds}
    return f"/v1/reservations/{(await tenant.edge.created('/v1/reservations', body))['reservation_id']}"


async def history(tenant: Tenant, begun_at: datetime) -> list[tuple[str, float, timedelta]]:
    """(kind, what it changed of the total, how long after the beginning) of `u`'s entries, the oldest first."""
    entries = (await tenant.core.get("/v1/customers/u/ledger")).body["data"]
    return [
        (
            entry["kind"],
            entry["total_after"] - entry["total_before"],
            datetime.fromisoformat(entry["posted_at"]) - begun_at,
        )
        for entry in reversed(entries)
    ]


async def begin(tenant: Tenant) -> datetime:
    """`u` on a clock, with two reservations: credit that expires comes back to its block in time, or too late."""
    await make_catalogue(tenant.core)
    begun_at = await frozen(tenant)
    await tenant.core.created("/v1/customers", {"end_user_id": "u"})
    await grant(tenant, 100, begun_at + 2 * HOUR)
    await grant(tenant, 50)
    await grant(tenant, 25, effective_at=(begun_at + 3 * DAY).isoformat())
    await reserve(tenant, 30, 3600)
    await reserve(tenant, 20, 3 * 3600)
    return begun_at


EXPECTED = [
    ("grant", 100, timedelta(0)),
    ("grant", 50, timedelta(0)),
    ("reservation_opened", -30, timedelta(0)),
    ("reservation_opened", -20, timedelta(0)),
    ("reservation_expired", 30, HOUR),
    ("expiry", -80, 2 * HOUR),
    ("reservation_expired", 0, 3 * HOUR),
    ("grant", 25, 3 * DAY),
]


@pytest.mark.parametrize("steps", [(7 * DAY,), (HOUR, 2 * HOUR, 2 * HOUR, 3 * HOUR, 90 * HOUR, 7 * DAY)])
async def test_time_passes_as_if_it_had(stack: Stack, tenant: Tenant, steps: tuple[timedelta, ...]) -> None:
    """In one step or in many, all is posted at the moment at which it fell due, and known when it is answered."""
    begun_at = await begin(tenant)
    assert await balance(tenant, "u") == 100
    for step in steps:
        assert (await advance(tenant, begun_at + step)).body["frozen_at"] == (begun_at + step).isoformat().replace(
            "+00:00", "Z"
        )
    assert await balance(tenant, "u") == 75
    found = await history(tenant, begun_at)
    assert [(kind, change) for kind, change, _ in found] == [(kind, change) for kind, change, _ in EXPECTED]
    second = timedelta(milliseconds=1)  # each reservation is dated a little after what was decided before it
    assert all(abs(at - expected) < second for (*_, at), (*_, expected) in zip(found, EXPECTED, strict=True)), found
    spend = {"end_user_id": "u", "feature_key": "api_calls", "units": 76, "enforce": True}
    refused = await tenant.edge.post("/v1/usage", spend)
    assert (refused.status, refused.body["code"]) == (HTTPStatus.PAYMENT_REQUIRED, "insufficient_credits")
    assert (await stack.verify()).findings == []


async def test_usage_is_dated_by_the_clock(tenant: Tenant) -> None:
    """Through core and edge alike, and the answer to a key that is asked again stays what it was."""
    begun_at = await begin(tenant)
    await advance(tenant, begun_at + 400 * DAY)
    spend = {"end_user_id": "u", "feature_key": "api_calls", "units": 5, "idempotency_key": "once"}
    answers = [await client.post("/v1/usage", spend) for client in (tenant.core, tenant.edge)]
    assert [answer.status for answer in answers] == [HTTPStatus.ACCEPTED] * 2
    assert answers[0].raw == answers[1].raw
    await grant(tenant, 7)
    await advance(tenant, begun_at + 401 * DAY)
    *_, used, granted = await history(tenant, begun_at)
    assert {used[:2], granted[:2]} == {("usage", -5), ("grant", 7)}
    assert {used[2], granted[2]} == {400 * DAY}


async def test_nothing_happens_while_a_clock_stands_still(tenant: Tenant) -> None:
    """A block and a reservation outlive their time by the machines' clock, whoever looks."""
    await make_catalogue(tenant.core)
    begun_at = await frozen(tenant)
    await tenant.core.created("/v1/customers", {"end_user_id": "u"})
    await grant(tenant, 100, begun_at + timedelta(milliseconds=500))
    path = await reserve(tenant, 30, 1)
    await asyncio.gather(*(balance(tenant, "u") for _ in range(5)))
    shown = (await tenant.edge.get(path)).body
    due_at = datetime.fromisoformat(shown["expires_at"])

    async def is_past() -> bool:
        return datetime.now(due_at.tzinfo) > due_at + timedelta(seconds=1.5)

    await wait_until_async(is_past, 10, "the machines' clock to be past it")
    assert (await tenant.edge.get(path)).body == shown
    assert await balance(tenant, "u") == 70
    committed = await tenant.edge.post(f"{path}/commit", {"units": 10})
    assert (committed.status, committed.body["charged"], committed.body["late"]) == (HTTPStatus.OK, 10, False)


async def test_others_are_not_held_up(stack: Stack, session: aiohttp.ClientSession) -> None:
    """While the time of one sandbox stands still, that of another goes on, though its reservations lie beside them."""
    one, other = [await stack.tenant(session) for _ in range(2)]
    await begin(one)
    await make_catalogue(other.core)
    await other.core.created("/v1/customers", {"end_user_id": "u"})
    await grant(other, 100)
    path = await reserve(other, 30, 1)

    async def is_expired() -> bool:
        return (await other.edge.get(path)).body["state"] == "expired"

    await wait_until_async(is_expired, 10, "the reservation to expire")
    assert await balance(one, "u") == 100


async def test_the_guide(tenant: Tenant) -> None:
    """What is pasted from docs/test-clock.md works, and answers what is written there, with times of its own."""
    [script] = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
    named = script.replace("http://localhost:8000", tenant.core.base_url).replace("qs_test_...", tenant.sandbox_key)
    process = await asyncio.create_subprocess_exec(program("sh"), "-ec", named, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert shape(output.decode()) == shape("\n".join(re.findall(r"# (\{.*\})", script)) + "\n")


def shape(text: str) -> str:
    """Without moments."""
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "*", text)
