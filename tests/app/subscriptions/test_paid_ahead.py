"""The next period is paid for: it comes as it was paid for, and what is put off happens after it."""

from typing import Any

import pytest

from app.wire.codes import Code
from tests.app.subscriptions.studio import TEN_DAYS, Studio, later


@pytest.fixture
async def paid(studio: Studio) -> Any:
    """A subscription whose next period is paid for."""
    made = await studio.subscribe(await studio.plan("pro", 100))
    return await studio.act(made, "renew", payment_reference="pay_1")


async def test_canceled(studio: Studio, paid: Any) -> None:
    """It ends with the period that was paid for, not before it."""
    canceled = await studio.act(paid, "cancel")
    assert later(canceled["scheduled"]["at"]) == later(paid["period_end"], days=10)
    await studio.pass_days(10)
    shown = await studio.show(paid)
    assert (shown["state"], shown["renewed"], await studio.total()) == ("active", False, 100)
    assert shown["scheduled"] == canceled["scheduled"]
    await studio.pass_days(10)
    assert ((await studio.show(paid))["state"], await studio.total()) == ("canceled", 0)
    assert await studio.told("subscription.overdue") == []


async def test_canceled_at_once(studio: Studio, paid: Any) -> None:
    """That is what was asked for; nothing is paid for any more."""
    canceled = await studio.act(paid, "cancel", at="now")
    assert (canceled["state"], canceled["renewed"]) == ("canceled", False)


async def test_changed_to_less(studio: Studio, paid: Any) -> None:
    """After the period that was paid for; the payment of the one after that is for what it was changed to."""
    changed = await studio.act(paid, "change", plan_variant_id=await studio.plan("mini", 10))
    assert later(changed["scheduled"]["at"]) == later(paid["period_end"], days=10)
    await studio.pass_days(10)
    shown = await studio.show(paid)
    assert (shown["plan_key"], shown["scheduled"], await studio.total()) == ("pro", changed["scheduled"], 100)
    assert (await studio.act(paid, "renew", payment_reference="pay_2"))["scheduled"] == changed["scheduled"]
    await studio.pass_days(10)
    assert ((await studio.show(paid))["plan_key"], await studio.total()) == ("mini", 10)


async def test_changed_to_more(studio: Studio, paid: Any) -> None:
    """At once only where a payment comes with it, since the next period is a dearer one then; else nothing happens."""
    more = await studio.plan("max", 300)
    for path in ("change", "change/preview"):
        problem = await studio.refused(Code.ACTION_REFUSED, paid, path, plan_variant_id=more, at="now")
        assert problem["context"]["why"] == "paid_ahead"
    changed = await studio.act(paid, "change", plan_variant_id=more, payment_reference="pay_2")
    assert (changed["plan_key"], changed["renewed"], await studio.total()) == ("max", True, 300)
    await studio.pass_days(10)
    assert ((await studio.show(paid))["state"], await studio.total()) == ("active", 300)


async def test_another_version(studio: Studio, paid: Any) -> None:
    """Another version of what was paid for has the same price, as far as anybody here knows."""
    terms = {**TEN_DAYS, "grants": [{"amount": 120, **TEN_DAYS}]}
    await studio.client.made("/v1/plans/pro/variants/ten_days/versions", terms)
    changed = await studio.act(paid, "change", plan_variant_id=paid["plan_variant_id"], at="now")
    assert (changed["version"], changed["renewed"], await studio.total()) == (2, True, 120)


async def test_a_payment_changes_to_one_thing(studio: Studio, paid: Any) -> None:
    """The same change again finds it done; another one is refused, whether the first was put off or at once."""
    mini, max_ = await studio.plan("mini", 10), await studio.plan("max", 300)
    used = Code.PAYMENT_REFERENCE_USED
    done = await studio.act(paid, "change", plan_variant_id=mini, payment_reference="pay_2")
    assert await studio.act(paid, "change", plan_variant_id=mini, payment_reference="pay_2") == done
    await studio.refused(used, paid, "change", plan_variant_id=max_, payment_reference="pay_2", at="now")
    done = await studio.act(paid, "change", plan_variant_id=max_, payment_reference="pay_3")
    assert await studio.act(paid, "change", plan_variant_id=max_, payment_reference="pay_3") == done
    await studio.refused(used, paid, "change", plan_variant_id=mini, payment_reference="pay_3")


async def test_a_payment_for_a_change_that_was_undone(studio: Studio, paid: Any) -> None:
    """Its message again does not do it after all, nor does it look as if it had: it says what the payment was for."""
    mini, less = await studio.plan("mini", 10), await studio.plan("less", 5)
    asked = {"plan_variant_id": mini, "payment_reference": "pay_2"}
    await studio.act(paid, "change", **asked, at="period_end")
    used = Code.PAYMENT_REFERENCE_USED
    await studio.refused(used, paid, "change", **asked, at="now")
    await studio.unschedule(paid)
    for again in ({}, {"at": "period_end"}):
        for path in ("change", "change/preview"):
            problem = await studio.refused(used, paid, path, **asked, **again)
            used_for = {"subscription_id": paid["subscription_id"], "action": "schedule_change", "is_undone": True}
            assert problem["context"] == {"payment_reference": "pay_2", "used_for": used_for}
            assert "pay_2" in problem["detail"]
            assert "taken back" in problem["detail"]
    await studio.act(paid, "change", plan_variant_id=mini, payment_reference="pay_3")
    await studio.act(paid, "change", plan_variant_id=less)
    await studio.refused(used, paid, "change", plan_variant_id=mini, payment_reference="pay_3")


async def test_a_payment_for_a_change_that_came(studio: Studio) -> None:
    """Its message may come again after whatever came between: it was done."""
    mini, less = await studio.plan("mini", 10, billing_mode="postpaid"), await studio.plan("less", 5)
    made = await studio.subscribe(await studio.plan("pro", 100, billing_mode="postpaid"))
    asked = {"plan_variant_id": mini, "payment_reference": "pay_1"}
    await studio.act(made, "change", **asked)
    await studio.pass_days(11)
    assert (await studio.act(made, "change", **asked))["plan_key"] == "mini"
    await studio.act(made, "change", plan_variant_id=less, at="now")
    assert (await studio.act(made, "change", **asked))["plan_key"] == "less"


async def test_the_last_period_of_a_contract(studio: Studio) -> None:
    """Nothing can be put off to an end after which nothing comes, were it the end of the period that is paid for."""
    mini = await studio.plan("mini", 10)
    made = await studio.subscribe(await studio.plan("pro", 100), contract={"periods": 2})
    await studio.act(made, "renew")
    problem = await studio.refused(Code.ACTION_REFUSED, made, "change", plan_variant_id=mini)
    assert problem["context"]["why"] == "ends"


async def test_overdue_for_a_change_that_cannot_be_taken_back(studio: Studio) -> None:
    """Without it nobody would pay for the next period, and so it would never begin."""
    prepaid = await studio.plan("prepaid", 10)
    made = await studio.subscribe(await studio.plan("pro", 100, billing_mode="postpaid"))
    await studio.act(made, "change", plan_variant_id=prepaid)
    await studio.pass_days(11)
    answer = await studio.client.send("DELETE", f"/v1/subscriptions/{made['subscription_id']}/scheduled-change")
    assert (answer.status_code, answer.json()["context"]["why"]) == (409, "over")
    assert (await studio.act(made, "renew"))["plan_key"] == "prepaid"
