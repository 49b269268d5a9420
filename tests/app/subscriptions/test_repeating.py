"""The same request again, at another time or at the same, has its effect once."""

import asyncio
import itertools
from typing import Any, NamedTuple

import httpx
import pytest

from app.rules.lifecycle import BY_TIME, Action
from app.wire.codes import Code
from tests.app.subscriptions.studio import Studio
from tests.app.web.test_problems import assert_problem

TWINS = 8


class Repeated(NamedTuple):
    """An action as it is called, what has to come before it, and how its twins are answered."""

    path: str
    body: dict[str, Any] | None
    before: str | None = None
    twin: int = 409
    wants: bool = False
    """Whether it names another plan."""


REPEATED = {
    Action.RENEW: Repeated("renew", {"payment_reference": "pay_1"}, twin=200),
    Action.CHANGE: Repeated("change", {"reason": "more"}, wants=True),
    Action.SCHEDULE_CHANGE: Repeated("change", {"at": "period_end"}, twin=200, wants=True),
    Action.UNSCHEDULE: Repeated("scheduled-change", None, before="cancel"),
    Action.PAUSE: Repeated("pause", {"reason": "holiday"}),
    Action.RESUME: Repeated("resume", {"reason": "back"}, before="pause"),
    Action.CANCEL: Repeated("cancel", {"at": "now"}),
    Action.CANCEL_AT_PERIOD_END: Repeated("cancel", {"reason": "enough"}, twin=200),
}
"""All that clients do; where a twin is answered 200, it was done already."""
OF_BODIES = [action for action, repeated in REPEATED.items() if repeated.body is not None]


class Prepared:
    """A subscription of which an action can be asked."""

    def __init__(self, studio: Studio, made: Any, repeated: Repeated, body: dict[str, Any] | None) -> None:
        self.made, self.body = made, body
        self._client, self._path = studio.client, f"/v1/subscriptions/{made['subscription_id']}/{repeated.path}"

    async def ask(self, key: str, **more: Any) -> httpx.Response:
        """Ask for the action under a key."""
        if self.body is None:
            return await self._client.send("DELETE", self._path, headers={"idempotency-key": key})
        return await self._client.post(self._path, self.body | more, key)


async def prepared(studio: Studio, action: Action) -> Prepared:
    """A subscription, and what is asked of it."""
    repeated = REPEATED[action]
    made = await studio.subscribe(await studio.plan("pro", 100))
    if repeated.before is not None:
        await studio.act(made, repeated.before)
    wanted = {"plan_variant_id": await studio.plan("max", 300)} if repeated.wants else {}
    return Prepared(studio, made, repeated, None if repeated.body is None else repeated.body | wanted)


async def actions_of(studio: Studio, made: Any) -> list[str]:
    """What became of it, but for making it and for what came before the action."""
    return [change["action"] for change in await studio.history(made)]


def expected(action: Action) -> list[str]:
    """The history of a subscription of which an action was asked, however often."""
    names = {None: [], "cancel": ["cancel_at_period_end"], "pause": ["pause"]}
    return ["create", *names[REPEATED[action].before], action.value]


def test_nothing_is_left_out() -> None:
    """Every action that clients can ask for."""
    assert {*REPEATED} | BY_TIME == {*Action}


@pytest.mark.parametrize("action", REPEATED)
async def test_one_key_one_effect(studio: Studio, action: Action) -> None:
    """The same bytes again, whatever became of the subscription since."""
    subject = await prepared(studio, action)
    first = await subject.ask("k")
    assert first.status_code == 200, first.text
    before = await studio.history(subject.made), await studio.ledger()
    await studio.pass_days(1)
    again = await subject.ask("k")
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert (await studio.history(subject.made), await studio.ledger()) == before


@pytest.mark.parametrize("action", OF_BODIES)
async def test_another_body_under_the_key(studio: Studio, action: Action) -> None:
    """Is refused with what differs."""
    subject = await prepared(studio, action)
    assert (await subject.ask("k")).status_code == 200
    problem = assert_problem(await subject.ask("k", reason="other"), Code.IDEMPOTENCY_KEY_REUSED)
    assert problem["mismatch"] == ["reason"]
    assert await actions_of(studio, subject.made) == expected(action)


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


@pytest.mark.parametrize("action", REPEATED)
async def test_twins_under_one_key(studio: Studio, action: Action) -> None:
    """All that are answered are answered alike; the rest are told that it is under way."""
    subject = await prepared(studio, action)
    answers = await asyncio.gather(*(subject.ask("k") for _ in range(TWINS)))
    done = [answer for answer in answers if answer.status_code == 200]
    assert done
    assert len({answer.content for answer in done}) == 1
    assert {answer.json()["code"] for answer in answers if answer not in done} <= {Code.IDEMPOTENCY_KEY_IN_FLIGHT}
    assert await actions_of(studio, subject.made) == expected(action)
    await studio.edge_follows("u")


@pytest.mark.parametrize("action", REPEATED)
async def test_twins_under_keys_of_their_own(studio: Studio, action: Action) -> None:
    """One has the effect; the others find that it was done, or that it cannot be done any more. Word goes out once."""
    subject = await prepared(studio, action)
    told = await studio.told_of(subject.made)
    answers = await asyncio.gather(*(subject.ask(f"k{number}") for number in range(TWINS)))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200, *[REPEATED[action].twin] * (TWINS - 1)]
    assert await actions_of(studio, subject.made) == expected(action)
    grants = [change for kind, change in await studio.ledger() if kind == "grant"]
    assert grants == ([100, 200] if action is Action.CHANGE else [100])
    assert len(await studio.told_of(subject.made)) == len(told) + 1
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
