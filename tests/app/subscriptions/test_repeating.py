"""The same request again, at another time or at the same, has its effect once."""

import asyncio
import itertools
from typing import Any

import pytest

from app.wire.codes import Code
from tests.app.subscriptions.studio import Studio
from tests.app.web.test_problems import assert_problem

TWINS = 8
BODIES: dict[str, dict[str, Any]] = {
    "renew": {"payment_reference": "pay_1"},
    "pause": {"reason": "holiday"},
    "cancel": {"at": "now"},
    "change": {"reason": "more"},
}


async def prepared(studio: Studio, action: str) -> tuple[str, dict[str, Any], Any]:
    """A subscription, the path of an action on it and its body."""
    made = await studio.subscribe(await studio.plan("pro", 100))
    body = BODIES[action]
    if action == "change":
        body = body | {"plan_variant_id": await studio.plan("max", 300)}
    return f"/v1/subscriptions/{made['subscription_id']}/{action}", body, made


@pytest.mark.parametrize("action", BODIES)
async def test_one_key_one_effect(studio: Studio, action: str) -> None:
    """The same bytes again, whatever became of the subscription since; another body under the key is refused."""
    path, body, made = await prepared(studio, action)
    first = await studio.client.post(path, body, "k")
    assert first.status_code == 200, first.text
    before = await studio.history(made), await studio.ledger()
    await studio.pass_days(1)
    again = await studio.client.post(path, body, "k")
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    other = await studio.client.post(path, body | {"reason": "other"}, "k")
    problem = assert_problem(other, Code.IDEMPOTENCY_KEY_REUSED)
    assert problem["mismatch"] == ["reason"]
    assert (await studio.history(made), await studio.ledger()) == before


async def test_a_refusal_is_kept(studio: Studio) -> None:
    """It stays what it was under its key, even when the action would be possible by now."""
    made = await studio.subscribe(await studio.plan("pro", 100))
    path = f"/v1/subscriptions/{made['subscription_id']}/resume"
    refused = await studio.client.post(path, {}, "k")
    assert_problem(refused, Code.ILLEGAL_MOVE)
    await studio.act(made, "pause")
    assert (await studio.client.post(path, {}, "k")).json()["code"] == Code.ILLEGAL_MOVE
    assert (await studio.show(made))["state"] == "paused"
    assert (await studio.act(made, "resume", "another"))["state"] == "active"


@pytest.mark.parametrize("action", BODIES)
async def test_twins_under_one_key(studio: Studio, action: str) -> None:
    """All that are answered are answered alike; the rest are told that it is under way."""
    path, body, made = await prepared(studio, action)
    answers = await asyncio.gather(*(studio.client.post(path, body, "k") for _ in range(TWINS)))
    done = [answer for answer in answers if answer.status_code == 200]
    assert done
    assert len({answer.content for answer in done}) == 1
    assert {answer.json()["code"] for answer in answers if answer not in done} <= {Code.IDEMPOTENCY_KEY_IN_FLIGHT}
    assert [change["action"] for change in await studio.history(made)] == ["create", action]
    await studio.edge_follows("u")


@pytest.mark.parametrize("action", BODIES)
async def test_twins_under_keys_of_their_own(studio: Studio, action: str) -> None:
    """One has the effect; the others find that it was done, or that it cannot be done any more."""
    path, body, made = await prepared(studio, action)
    answers = await asyncio.gather(*(studio.client.post(path, body, f"k{number}") for number in range(TWINS)))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] * TWINS if action == "renew" else [200, *[409] * (TWINS - 1)]
    assert [change["action"] for change in await studio.history(made)] == ["create", action]
    grants = [change for kind, change in await studio.ledger() if kind == "grant"]
    assert grants == ([100, 200] if action == "change" else [100])
    await studio.edge_follows("u")


@pytest.mark.parametrize("same_key", [True, False])
async def test_subscribing_at_once(studio: Studio, same_key: bool) -> None:  # noqa: FBT001 - a case
    """Whoever is subscribed from several places is subscribed once."""
    body = {"end_user_id": "u", "plan_variant_id": await studio.plan("pro", 100)}
    keys = ["k" if same_key else f"k{number}" for number in range(TWINS)]
    answers = await asyncio.gather(*(studio.client.post("/v1/subscriptions", body, key) for key in keys))
    made = {answer.json()["subscription_id"] for answer in answers if answer.status_code == 201}
    assert len(made) == 1
    codes = {answer.json()["code"] for answer in answers if answer.status_code != 201}
    assert codes <= {Code.IDEMPOTENCY_KEY_IN_FLIGHT if same_key else Code.SUBSCRIPTION_EXISTS}
    assert await studio.of() == [("pro", "active")]
    assert await studio.total() == 100


async def test_different_things_at_once(studio: Studio) -> None:
    """One after the other, in whichever order: the history says which, and the subscription is where it ends."""
    made = await studio.subscribe(await studio.plan("pro", 100))
    path = f"/v1/subscriptions/{made['subscription_id']}"
    asked = ("pause", "resume", "renew", "cancel")
    answers = await asyncio.gather(*(studio.client.post(f"{path}/{action}", {}) for action in asked))
    history = await studio.history(made)
    assert len(history) == 1 + sum(answer.status_code == 200 for answer in answers)
    for before, after in itertools.pairwise(history):
        assert before["state_after"] == after["state_before"]
    assert history[-1]["state_after"] == (await studio.show(made))["state"]
