"""A subscription that comes with its first payment: however often that is told, it is one."""

import asyncio
from datetime import timedelta
from typing import Any

from app.wire.codes import Code
from tests.app.subscriptions.studio import Studio
from tests.app.web.test_problems import assert_problem

PAID: dict[str, Any] = {"payment_reference": "pay_1"}


async def refusal(studio: Studio, **body: Any) -> Any:
    """Why nobody is subscribed."""
    answer = await studio.client.post("/v1/subscriptions", body)
    return assert_problem(answer, Code.PAYMENT_REFERENCE_USED)


async def test_told_twice_it_is_one(studio: Studio) -> None:
    """Whatever the idempotency key, and whatever has become of it: the answer says how it stands."""
    extra = await studio.plan("extra", 200, kind="addon")
    made = await studio.subscribe(extra, **PAID)
    assert await studio.subscribe(extra, **PAID) == made
    assert (await studio.of(), await studio.total()) == ([("extra", "active")], 200)
    await studio.act(made, "cancel", at="now")
    again = await studio.subscribe(extra, **PAID)
    assert (again["subscription_id"], again["state"]) == (made["subscription_id"], "canceled")
    [created, _] = await studio.history(made)
    assert (created["action"], created["payment_reference"]) == ("create", "pay_1")
    assert await studio.subscribe(extra, payment_reference="pay_2") != again
    assert await studio.total() == 400


async def test_told_at_once_it_is_one(studio: Studio) -> None:
    """Twelve at once, each under a key of its own."""
    extra = await studio.plan("extra", 200, kind="addon")
    body = {"end_user_id": "u", "plan_variant_id": extra, **PAID}
    answers = await asyncio.gather(*(studio.client.post("/v1/subscriptions", body) for _ in range(12)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["subscription_id"] for answer in answers}) == 1
    assert await studio.total() == 200


async def test_in_the_place_of_the_free_plan(studio: Studio) -> None:
    """What makes way for it was not paid for."""
    await studio.subscribe(await studio.free_plan())
    pro = await studio.plan("pro", 100)
    made = await studio.subscribe(pro, **PAID)
    assert await studio.subscribe(pro, **PAID) == made
    assert sorted(await studio.of()) == [("free", "canceled"), ("pro", "active")]


async def test_it_does_one_thing(studio: Studio) -> None:
    """It makes no other subscription, and neither renews nor changes one; nor does what has done that make one."""
    pro, extra = await studio.plan("pro", 100), await studio.plan("extra", 200, kind="addon")
    made = await studio.subscribe(pro, **PAID)
    for other in ({"plan_variant_id": extra, "end_user_id": "u"}, {"plan_variant_id": pro, "end_user_id": "v"}):
        problem = await refusal(studio, **other, **PAID)
        used_for = {"subscription_id": made["subscription_id"], "action": "create", "is_undone": False}
        assert problem["context"] == {"payment_reference": "pay_1", "used_for": used_for}
        assert f"'pay_1' made the subscription {made['subscription_id']}" in problem["detail"]
    await studio.refused(Code.PAYMENT_REFERENCE_USED, made, "renew", **PAID)
    await studio.act(made, "renew", payment_reference="pay_2")
    await refusal(studio, end_user_id="v", plan_variant_id=pro, payment_reference="pay_2")


async def test_one_that_was_refused_is_good_for_another(studio: Studio) -> None:
    """As with a renewal: what did nothing is not used up."""
    pro = await studio.plan("pro", 100)
    made = await studio.subscribe(pro)
    answer = await studio.client.post("/v1/subscriptions", {"end_user_id": "u", "plan_variant_id": pro, **PAID})
    assert_problem(answer, Code.SUBSCRIPTION_EXISTS)
    assert (await studio.act(made, "renew", **PAID))["renewed"]


async def test_told_again_when_it_has_begun(studio: Studio) -> None:
    """A start that lay ahead when it was asked for first is not held against what comes late."""
    starts_at = (await studio.now() + timedelta(days=3)).isoformat()
    pro = await studio.plan("pro", 100)
    made = await studio.subscribe(pro, starts_at=starts_at, **PAID)
    await studio.pass_days(4)
    again = await studio.subscribe(pro, starts_at=starts_at, **PAID)
    assert (again["subscription_id"], again["state"]) == (made["subscription_id"], "active")
    assert await studio.total() == 100
