"""The last credits, asked for by far more clients than they suffice for, at all workers at once (invariant 44)."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from http import HTTPStatus
from typing import Any

import pytest
import pytest_asyncio

from app.embedded.valkey import EmbeddedValkey
from app.rules.credits import MICRO
from tests.edge.lines import Lines, balance_of, edge_of, post, spread
from tests.edge.world import Answer, Tenant, World

pytestmark = pytest.mark.asyncio(loop_scope="session")

WORKERS = 4
SPENDS, SPEND, CREDITS, ROUNDS = 500, 10, 1_000, 20
RESERVATIONS, RESERVED, LAST_CREDITS = 100, 10, 250


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lines(shared_world: World, valkey: EmbeddedValkey) -> AsyncIterator[Lines]:
    """A connection for each spend."""
    async with edge_of(shared_world, valkey, WORKERS, SPENDS // WORKERS) as opened:
        yield opened


async def at_once(lines: Lines, tenant: Tenant, path: str, bodies: list[dict[str, Any]]) -> list[Answer]:
    """Each on a connection of its own."""
    wires = spread(lines, len(bodies))
    return await asyncio.gather(*(post(wire, tenant, path, body) for wire, body in zip(wires, bodies, strict=True)))


def statuses(answers: Iterable[Answer]) -> Counter[int]:
    """How often each status came."""
    return Counter(answer.status for answer in answers)


async def test_of_500_spends_of_10_exactly_100_get_the_1000_credits(world: World, lines: Lines) -> None:
    """In each of many rounds, on one account over four workers; no two of the accepted saw one balance."""
    tenant = await world.tenant()
    for number in range(ROUNDS):
        await tenant.seed("user", CREDITS)
        event = {"end_user_id": "user", "feature_key": "api_calls", "units": SPEND, "enforce": True}
        bodies = [event | {"idempotency_key": f"{number}:{index}"} for index in range(SPENDS)]
        answers = await at_once(lines, tenant, "/v1/usage", bodies)
        assert statuses(answers) == {HTTPStatus.ACCEPTED: 100, HTTPStatus.PAYMENT_REQUIRED: 400}
        balances = [answer.body["balance"] for answer in answers if answer.status == HTTPStatus.ACCEPTED]
        assert sorted(balances) == list(range(0, CREDITS, SPEND))
        assert await balance_of(next(spread(lines, 1)), tenant, "user") == 0
    assert len(await tenant.entries("user")) == 100 * ROUNDS


async def test_the_last_credits_are_reserved_once(world: World, lines: Lines) -> None:
    """Everybody reserves; all but one commit half of it; what came back is reserved again, and never more than that."""
    tenant = await world.tenant()
    for number in range(ROUNDS):
        user = f"user_{number}"
        await tenant.seed(user, LAST_CREDITS)
        opening = {"end_user_id": user, "feature_key": "api_calls", "units": RESERVED}
        bodies = [opening | {"idempotency_key": str(index)} for index in range(RESERVATIONS)]
        answers = await at_once(lines, tenant, "/v1/reservations", bodies)
        assert statuses(answers) == {HTTPStatus.CREATED: 25, HTTPStatus.PAYMENT_REQUIRED: 75}
        opened = [answer.body["reservation_id"] for answer in answers if answer.status == HTTPStatus.CREATED]
        ends = zip(spread(lines, len(opened)), opened, strict=True)
        half = {"units": RESERVED // 2}
        calls = [post(wire, tenant, f"/v1/reservations/{name}/commit", half) for wire, name in list(ends)[1:]]
        assert statuses(await asyncio.gather(*calls)) == {HTTPStatus.OK: 24}
        again = [opening | {"idempotency_key": f"again:{index}"} for index in range(RESERVATIONS)]
        assert statuses(await at_once(lines, tenant, "/v1/reservations", again)) == {201: 12, 402: 88}
        account = await tenant.account(user)
        figures = {"reserved": 13 * RESERVED * MICRO, "open": 13, "accepted": LAST_CREDITS * MICRO}
        assert {name: int(account[name]) for name in figures} == figures


async def test_openings_and_ends_at_once_never_oversell(world: World, lines: Lines) -> None:
    """Reservations that are made and ended side by side: what is used and held is never more than there is."""
    tenant = await world.tenant()
    for number in range(ROUNDS):
        user = f"user_{number}"
        await tenant.seed(user, LAST_CREDITS)

        async def live(wire: Any, index: int, user: str = user) -> int:
            """Reserve, then commit all, commit less, release or leave it open; what it takes in the end."""
            opening = {"end_user_id": user, "feature_key": "api_calls", "units": RESERVED}
            answer = await post(wire, tenant, "/v1/reservations", opening | {"idempotency_key": str(index)})
            if answer.status == HTTPStatus.PAYMENT_REQUIRED:
                return 0
            verb, body, taken = ENDS[index % len(ENDS)]
            if verb:
                path = f"/v1/reservations/{answer.body['reservation_id']}/{verb}"
                assert (await post(wire, tenant, path, body)).status == HTTPStatus.OK
            return taken

        taken = sum(await asyncio.gather(*map(live, spread(lines, RESERVATIONS), range(RESERVATIONS))))
        assert taken <= LAST_CREDITS
        assert await balance_of(next(spread(lines, 1)), tenant, user) == LAST_CREDITS - taken


ENDS: list[tuple[str, dict[str, int], int]] = [
    ("commit", {"units": RESERVED}, RESERVED),
    ("commit", {"units": 3}, 3),
    ("release", {}, 0),
    ("", {}, RESERVED),
]
"""Verb, body, and what it takes."""
