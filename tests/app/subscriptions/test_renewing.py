"""Renewing prepaid subscriptions: each period once, however often and late it is said, and by one payment each."""

from typing import Any

import pytest

from app.wire.codes import Code
from tests.app.subscriptions.studio import TEN_DAYS, Studio, later
from tests.app.web.test_problems import assert_problem


async def test_the_next_period_is_paid_for(studio: Studio) -> None:
    """The present one goes on to its end; then the next one begins, with its credit, and is not paid for yet."""
    made = await studio.subscribe(await studio.plan("pro", 100))
    renewed = await studio.act(made, "renew", payment_reference="pay_1")
    assert renewed == made | {"renewed": True, "next_at": made["period_end"]}
    assert await studio.total() == 100
    await studio.pass_days(10)
    shown = await studio.show(made)
    assert (shown["state"], shown["period_index"], shown["renewed"]) == ("active", 1, False)
    assert (shown["period_start"], later(shown["period_end"])) == (
        made["period_end"],
        later(made["period_end"], days=10),
    )
    assert await studio.total() == 100  # what was left of the first period has expired
    await studio.edge_follows("u")


async def test_twice_is_once(studio: Studio) -> None:
    """Without anything that tells two calls apart, the second finds that it was done."""
    made = await studio.subscribe(await studio.plan("pro", 100))
    first = await studio.act(made, "renew")
    assert await studio.act(made, "renew") == first
    assert [action for action, *_ in await studio.actions(made)] == ["create", "renew"]


async def test_a_payment_renews_once(studio: Studio) -> None:
    """However late its message comes again: not the next period, and no other subscription."""
    variant = await studio.plan("pro", 100)
    made, other = await studio.subscribe(variant), await studio.subscribe(variant, "v")
    await studio.act(made, "renew", payment_reference="pay_1")
    await studio.pass_days(10)
    again = await studio.act(made, "renew", payment_reference="pay_1")
    assert (again["period_index"], again["renewed"]) == (1, False)
    await studio.refused(Code.PAYMENT_REFERENCE_USED, other, "renew", payment_reference="pay_1")
    assert (await studio.act(made, "renew", payment_reference="pay_2"))["renewed"]


async def test_a_payment_that_was_refused_is_taken_later(studio: Studio) -> None:
    """Under another key, as its own reference: its old key answers the refusal, though that has passed."""
    made = await studio.subscribe(await studio.plan("pro", 100))
    await studio.act(made, "pause")
    path, body = f"/v1/subscriptions/{made['subscription_id']}/renew", {"payment_reference": "pay_1"}
    assert_problem(refused := await studio.client.post(path, body, "delivery_1"), Code.ILLEGAL_MOVE)
    await studio.act(made, "resume")
    assert (await studio.client.post(path, body, "delivery_1")).json() == refused.json()
    for key in ("delivery_2", "delivery_3", None):
        assert (await studio.act(made, "renew", key, **body))["renewed"]
    assert [action for action, *_ in await studio.actions(made)] == ["create", "pause", "resume", "renew"]


@pytest.mark.parametrize("other", [True, False])
async def test_a_used_payment_is_told_so_in_words_that_are_true(studio: Studio, *, other: bool) -> None:
    """Also where the other thing that it did was done with the same subscription."""
    pro, max_ = await studio.plan("pro", 100), await studio.plan("max", 300)
    made = await studio.subscribe(pro)
    await studio.act(made, "change", plan_variant_id=max_, payment_reference="pay_1")
    refused = await studio.subscribe(pro, "v") if other else made
    problem = await studio.refused(Code.PAYMENT_REFERENCE_USED, refused, "renew", payment_reference="pay_1")
    used_for = f"changed the subscription {made['subscription_id']}"
    assert problem["detail"] == f"The payment reference 'pay_1' {used_for}: send this payment's own."


async def test_who_pays_late_for_a_short_period_hears_of_the_closed_one_once(studio: Studio) -> None:
    """With the renewal, not with the word that comes in the same step and asks for the next payment."""
    made = await studio.subscribe(await studio.plan("pro", 100, renewal_due_days=10, grace_period_days=30))
    await studio.pass_days(23)
    assert (await studio.act(made, "renew"))["state"] == "active"
    [renewed], [*_, asked] = await studio.told("subscription.renewed"), await studio.told("subscription.renewal_due")
    assert renewed["period_index"] == asked["period_index"] == 1
    assert renewed["closed_period"]["period_start"] == made["period_start"]
    assert "closed_period" not in asked


async def test_a_second_payment_of_one_period_is_refused(studio: Studio) -> None:
    """It must not look like one that did something; it is good for the next period."""
    made = await studio.subscribe(await studio.plan("pro", 100))
    await studio.act(made, "renew", payment_reference="pay_1")
    problem = await studio.refused(Code.ACTION_REFUSED, made, "renew", payment_reference="pay_2")
    assert problem["context"]["why"] == "already_renewed"
    await studio.pass_days(10)
    assert (await studio.act(made, "renew", payment_reference="pay_2"))["renewed"]


async def test_what_ends_is_not_paid_for(studio: Studio) -> None:
    """A payment for a period that will not come is refused; the cancellation taken back, it is good."""
    made = await studio.subscribe(await studio.plan("pro", 100))
    await studio.act(made, "cancel")
    problem = await studio.refused(Code.ACTION_REFUSED, made, "renew", payment_reference="pay_1")
    assert problem["context"]["why"] == "ends"
    await studio.unschedule(made)
    assert (await studio.act(made, "renew", payment_reference="pay_1"))["renewed"]


async def test_a_payment_that_did_nothing_is_free(studio: Studio) -> None:
    """A refused renewal does not use it up."""
    prepaid = await studio.subscribe(await studio.plan("pro", 100))
    postpaid = await studio.subscribe(await studio.plan("later", 100, billing_mode="postpaid"), "v")
    await studio.refused(Code.ACTION_REFUSED, postpaid, "renew", payment_reference="pay_1")
    assert (await studio.act(prepaid, "renew", payment_reference="pay_1"))["renewed"]


async def test_a_named_period_is_renewed_once(studio: Studio) -> None:
    """Which period is meant may be said: one that has been renewed is not renewed again, one to come not yet."""
    made = await studio.subscribe(await studio.plan("pro", 100))
    problem = await studio.refused(Code.ACTION_REFUSED, made, "renew", period_index=1)
    assert problem["context"]["why"] == "period_not_begun"
    await studio.act(made, "renew", period_index=0)
    await studio.pass_days(10)
    problem = await studio.refused(Code.ACTION_REFUSED, made, "renew", period_index=0, payment_reference="pay_1")
    assert (problem["context"]["why"], problem["context"]["period_index"]) == ("already_followed", 1)
    late = await studio.act(made, "renew", period_index=0)
    assert (late["period_index"], late["renewed"]) == (1, False)
    assert (await studio.act(made, "renew", period_index=1))["renewed"]


@pytest.mark.parametrize(
    ("index", "code"), [(2**31 - 1, Code.ACTION_REFUSED), (2**31, Code.INVALID_VALUE), (2**64, Code.INVALID_VALUE)]
)
async def test_periods_that_never_come(studio: Studio, index: int, code: Code) -> None:
    """However great the number is: one that no period can have is no number of a period."""
    made = await studio.subscribe(await studio.plan("pro", 100))
    answer = await studio.client.post(f"/v1/subscriptions/{made['subscription_id']}/renew", {"period_index": index})
    assert_problem(answer, code, "period_index" if code is Code.INVALID_VALUE else None)
    assert await studio.show(made) == made


async def test_postpaid_ones_renew_by_themselves(studio: Studio) -> None:
    """So there is nothing to say."""
    made = await studio.subscribe(await studio.plan("pro", 100, billing_mode="postpaid"))
    problem = await studio.refused(Code.ACTION_REFUSED, made, "renew")
    assert problem["context"] == {"subscription_id": made["subscription_id"], "why": "not_prepaid"}


async def test_out_of_overdue(studio: Studio) -> None:
    """The period that was waited for begins where the last one ended, and usage goes on."""
    made = await studio.subscribe(await studio.plan("pro", 100, grace_period_days=4))
    await studio.pass_days(12)
    overdue = await studio.show(made)
    assert (overdue["state"], later(overdue["overdue_until"])) == ("overdue", later(made["period_end"], days=4))
    assert (await studio.total(), await studio.standing()) == (0, "subscription_overdue")
    renewed = await studio.act(made, "renew")
    assert (renewed["state"], renewed["period_start"], renewed["period_index"]) == ("active", made["period_end"], 1)
    assert (await studio.total(), await studio.standing()) == (100, "ok")


async def test_very_late(studio: Studio) -> None:
    """Where the period is over too that was waited for, the one that runs is paid for: no time that has gone by."""
    made = await studio.subscribe(await studio.plan("pro", 100, grace_period_days=30))
    await studio.pass_days(33)
    renewed = await studio.act(made, "renew", payment_reference="pay_1")
    assert (renewed["state"], renewed["period_index"]) == ("active", 1)
    assert later(renewed["period_start"]) == later(made["period_start"], days=30)
    assert (await studio.total(), (await studio.ledger())[-1]) == (100, ("grant", 100))


async def test_a_payment_does_one_thing(studio: Studio) -> None:
    """What has renewed a subscription does not change it, nor the other way about."""
    made = await studio.subscribe(await studio.plan("pro", 100))
    wanted = await studio.plan("max", 300)
    await studio.act(made, "renew", payment_reference="pay_1")
    used = Code.PAYMENT_REFERENCE_USED
    await studio.refused(used, made, "change", plan_variant_id=wanted, payment_reference="pay_1")
    await studio.act(made, "change", plan_variant_id=wanted, payment_reference="pay_2")
    await studio.pass_days(10)
    await studio.refused(used, made, "renew", payment_reference="pay_2")


async def test_a_trial_that_is_paid_for(studio: Studio) -> None:
    """It is followed by the first period, which counts from its end."""
    made = await studio.subscribe(await studio.plan("pro", 100, trial_days=5))
    assert (await studio.act(made, "renew"))["state"] == "trialing"
    await studio.pass_days(5)
    shown = await studio.show(made)
    assert (shown["state"], shown["period_index"]) == ("active", 1)
    assert (shown["period_start"], later(shown["period_end"])) == (
        made["period_end"],
        later(made["period_end"], days=10),
    )
    assert await studio.total() == 100
    told: list[dict[str, Any]] = await studio.told("subscription.updated")
    assert [body["state"] for body in told] == ["trialing", "active"]


ROLLING = [{"amount": 100, **TEN_DAYS, "rollover": {"percent": 50}}]


async def test_what_rolls_over_comes_with_the_payment(studio: Studio) -> None:
    """While that is waited for nothing of it is there; a late payment brings it, to expire when it would have."""
    made = await studio.subscribe(await studio.plan("pro", 0, grants=ROLLING))
    await studio.pass_days(11)
    overdue = await studio.show(made)
    assert (overdue["state"], overdue["set_aside"], await studio.total()) == ("overdue", 50, 0)
    renewed = await studio.act(made, "renew")
    assert (renewed["set_aside"], await studio.total()) == (0, 150)
    await studio.pass_days(9)
    moved = [each for each in await studio.ledger() if each[0] in {"pause", "resume"}]
    assert moved == [("pause", -50), ("resume", 50), ("pause", -50)]
    assert ((await studio.show(made))["set_aside"], await studio.total()) == (50, 0)


async def test_what_rolls_over_is_lost_to_who_never_pays(studio: Studio) -> None:
    """They have no more of it than who cancels, on the free plan neither; and it is told."""
    await studio.free_plan()
    made = await studio.subscribe(await studio.plan("pro", 0, grants=ROLLING))
    await studio.pass_days(14)
    expired = await studio.show(made)
    assert (expired["state"], expired["set_aside"], await studio.total()) == ("expired", 0, 10)
    assert [body["amount"] for body in await studio.told("credits.expired")] == [50, 50]


async def test_what_rolls_over_is_lost_to_who_cancels_overdue(studio: Studio) -> None:
    """At once, as what was granted has expired by then."""
    made = await studio.subscribe(await studio.plan("pro", 0, grants=ROLLING))
    await studio.pass_days(11)
    assert (await studio.act(made, "cancel", at="now"))["set_aside"] == 0
    assert (await studio.total(), (await studio.ledger())[-1]) == (0, ("expiry", 0))


async def test_very_late_nothing_is_left_of_it(studio: Studio) -> None:
    """What rolled over has had its cycle by then."""
    made = await studio.subscribe(await studio.plan("pro", 0, grants=ROLLING, grace_period_days=30))
    await studio.pass_days(25)
    renewed = await studio.act(made, "renew")
    assert (renewed["state"], renewed["set_aside"], await studio.total()) == ("active", 0, 100)


async def test_what_rolled_over_is_voided_as_what_it_is(studio: Studio) -> None:
    """After the payment it is the same block as before, and can be spent and voided as any."""
    made = await studio.subscribe(await studio.plan("pro", 0, grants=ROLLING))
    await studio.pass_days(11)
    await studio.act(made, "renew")
    [rolled] = [b for b in (await studio.client.read("/v1/customers/u/credits"))["blocks"] if b["source"] == "rollover"]
    assert rolled["effective_at"] == made["period_end"]
    event_id = await studio.use(20)
    spent = await studio.void(Code.GRANT_SPENT, credit_block_id=rolled["credit_block_id"])
    assert spent["context"] == {"spent": 20}
    await studio.void(event_id=event_id)
    await studio.void(credit_block_id=rolled["credit_block_id"])
    assert await studio.total() == 100


WEEKLY = [{"amount": 100, "interval": "day", "interval_count": 7, "rollover": {"percent": 100}}]


async def test_what_was_used_of_what_is_lost_is_lost_where_it_comes_back(studio: Studio) -> None:
    """What rolls over in the grace can be used in it. Without a payment it is lost, however late it comes back."""
    await studio.subscribe(await studio.plan("pro", 0, grants=WEEKLY, grace_period_days=7))
    await studio.pass_days(15)
    [rolled] = (await studio.client.read("/v1/customers/u/credits"))["blocks"]
    assert (rolled["source"], await studio.total()) == ("rollover", 100)
    event_id = await studio.use(40)
    await studio.pass_days(2)
    assert await studio.total() == 0
    await studio.void(Code.GRANT_EXPIRED, credit_block_id=rolled["credit_block_id"], allow_debt=True)
    voided = await studio.void(event_id=event_id)
    assert (voided["total_after"], await studio.total()) == (0, 0)
