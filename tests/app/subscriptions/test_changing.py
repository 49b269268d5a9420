"""Changing the plan: at once or at the end of the period, and what of the credit then."""

from typing import Any

import pytest

from app.wire.codes import Code
from tests.app.subscriptions.studio import TEN_DAYS, Studio, later

PLANS = {"mini": 50, "pro": 100, "max": 300}


async def plans(studio: Studio, **terms: Any) -> dict[str, str]:
    """Three plans: the ids of their variants."""
    return {key: await studio.plan(key, amount, **terms) for key, amount in PLANS.items()}


async def test_upwards_at_once(studio: Studio) -> None:
    """The period stays, and what the time that remains is worth more is granted: half of 300 less half of 100."""
    variants = await plans(studio)
    made = await studio.subscribe(variants["pro"])
    await studio.pass_days(5)
    changed = await studio.act(made, "change", plan_variant_id=variants["max"])
    assert changed == made | {
        "plan_key": "max",
        "plan_variant_id": variants["max"],
        "next_at": changed["next_at"],
    }
    assert (await studio.ledger())[-1] == ("grant", 100)
    assert await studio.total() == 200
    assert [body["plan_key"] for body in await studio.told("subscription.upgraded")] == ["max"]


async def test_what_does_not_fit_is_not_promised(studio: Studio) -> None:
    """The preview counts to a cap what an add-on gave, for ever too."""
    made = await studio.subscribe(await studio.plan("pro", 100))
    await studio.subscribe(await studio.plan("extra", 0, kind="addon", grants=[{"amount": 250, "once": True}]))
    capped = await studio.plan("max", 0, grants=[{"amount": 300, **TEN_DAYS, "accumulation_cap": 400}])
    preview = await studio.act(made, "change/preview", plan_variant_id=capped)
    assert (preview["credits_granted"], [each["amount"] for each in preview["grants"]]) == (50, [50])
    await studio.act(made, "change", plan_variant_id=capped)
    assert (await studio.ledger())[-1] == ("grant", 50)


async def test_downwards_at_the_end(studio: Studio) -> None:
    """Nothing changes before; then the other plan's period begins, with its credit."""
    variants = await plans(studio, billing_mode="postpaid")
    made = await studio.subscribe(variants["pro"])
    changed = await studio.act(made, "change", plan_variant_id=variants["mini"])
    expected = {"action": "change", "at": made["period_end"], "plan_variant_id": variants["mini"], "plan_key": "mini"}
    assert changed["scheduled"] == expected | {"variant_key": "ten_days", "version": 1}
    assert (changed["plan_key"], await studio.total()) == ("pro", 100)
    await studio.pass_days(10)
    shown = await studio.show(made)
    assert (shown["plan_key"], shown["scheduled"], shown["period_start"]) == ("mini", None, made["period_end"])
    assert await studio.total() == 50
    await studio.edge_follows("u")
    assert (await studio.actions(made))[-1] == ("change", "active", "active")


async def test_what_each_variant_gives_once(studio: Studio) -> None:
    """It is the variant's own: another one's is given too, under the same key, and coming back gives none again."""
    variants = [
        await studio.plan(name, 0, grants=[{"key": "welcome", "amount": amount, "once": True}])
        for name, amount in (("pro", 100), ("max", 30))
    ]
    made = await studio.subscribe(variants[0])
    for variant in (variants[1], variants[0], variants[1]):
        await studio.act(made, "change", plan_variant_id=variant, at="now")
    assert await studio.total() == 130


async def test_downwards_at_once(studio: Studio) -> None:
    """Where that is asked for. What was given is not taken: it is left out of what comes next."""
    variants = await plans(studio, billing_mode="postpaid")
    made = await studio.subscribe(variants["pro"])
    await studio.pass_days(5)
    preview = await studio.act(made, "change/preview", plan_variant_id=variants["mini"], at="now")
    assert (preview["credits_granted"], preview["credits_ahead"]) == (0, 25)
    assert (await studio.act(made, "change", plan_variant_id=variants["mini"], at="now"))["plan_key"] == "mini"
    assert await studio.total() == 100
    back = await studio.act(made, "change/preview", plan_variant_id=variants["pro"], at="now")
    assert (back["credits_granted"], back["credits_ahead"]) == (0, 0)
    assert [body["plan_key"] for body in await studio.told("subscription.downgraded")] == ["mini"]


async def test_from_postpaid_to_prepaid(studio: Studio) -> None:
    """The last period that is paid for afterwards is closed once, with its bill, though the next one is waited for."""
    pro, max_ = await studio.plan("pro", 100, billing_mode="postpaid"), await studio.plan("max", 300)
    made = await studio.subscribe(pro)
    await studio.owe(140)
    await studio.act(made, "change", plan_variant_id=max_, at="period_end")
    await studio.pass_days(11)
    [overdue] = await studio.told("subscription.overdue")
    assert overdue["closed_period"]["overage_billed"] == 40
    renewed = await studio.act(made, "renew", payment_reference="pay_1")
    assert (renewed["plan_key"], renewed["period_start"], await studio.total()) == ("max", made["period_end"], 300)
    await studio.act(made, "renew")
    await studio.pass_days(10)
    first, second = await studio.told("subscription.renewed")
    assert "closed_period" not in first
    assert second["closed_period"]["period_start"] == overdue["closed_period"]["period_end"]


async def test_upwards_at_the_end(studio: Studio) -> None:
    """Where that is asked for."""
    variants = await plans(studio, billing_mode="postpaid")
    made = await studio.subscribe(variants["pro"])
    changed = await studio.act(made, "change", plan_variant_id=variants["max"], at="period_end")
    assert (changed["plan_key"], changed["scheduled"]["plan_key"]) == ("pro", "max")
    await studio.pass_days(10)
    assert ((await studio.show(made))["plan_key"], await studio.total()) == ("max", 300)


async def test_to_and_fro_gives_no_more_than_the_best(studio: Studio) -> None:
    """Whoever changes plans all the time has never more than the best of them gives."""
    variants = await plans(studio)
    made = await studio.subscribe(variants["mini"])
    for _ in range(3):
        for key in ("max", "pro", "mini"):
            await studio.act(made, "change", plan_variant_id=variants[key], at="now")
    assert await studio.total() == 300


async def test_another_interval_begins_a_period(studio: Studio) -> None:
    """Now, with a whole period's credit, less what was given for the time that remained of the old one."""
    weekly = await studio.plan(
        "weekly", 0, interval="week", interval_count=1, grants=[{"amount": 400, "interval": "week"}]
    )
    made = await studio.subscribe(await studio.plan("pro", 100))
    await studio.pass_days(5)
    now = await studio.now()
    changed = await studio.act(made, "change", plan_variant_id=weekly)
    assert (later(changed["period_start"]), later(changed["period_end"], days=-7)) == (now, now)
    assert changed["period_index"] == 1
    assert await studio.total() == 100 + 400 - 50


async def test_a_period_that_is_paid_for_comes(studio: Studio) -> None:
    """A change that would begin another one instead has to wait for its end."""
    weekly = await studio.plan(
        "weekly", 0, interval="week", interval_count=1, grants=[{"amount": 400, "interval": "week"}]
    )
    made = await studio.subscribe(await studio.plan("pro", 100))
    await studio.act(made, "renew")
    for path in ("change", "change/preview"):
        problem = await studio.refused(Code.ACTION_REFUSED, made, path, plan_variant_id=weekly, at="now")
        assert problem["context"]["why"] == "paid_ahead"
    assert (await studio.act(made, "change", plan_variant_id=weekly, at="period_end"))["scheduled"][
        "plan_key"
    ] == "weekly"


async def test_kinds_do_not_mix(studio: Studio) -> None:
    """A plan does not become an add-on, nor the other way about."""
    base, addon = await studio.plan("pro", 100), await studio.plan("extra", 7, kind="addon")
    for made, wanted in ((await studio.subscribe(base), addon), (await studio.subscribe(addon), base)):
        await studio.refused(Code.PLAN_KIND_DIFFERS, made, "change", plan_variant_id=wanted)
        await studio.refused(Code.PLAN_KIND_DIFFERS, made, "change/preview", plan_variant_id=wanted)


async def test_the_free_plan_is_no_plan_to_change_to(studio: Studio) -> None:
    """It is left by subscribing, and come back to by cancelling."""
    free, pro = await studio.free_plan(), await studio.plan("pro", 100)
    cases = ((free, "u", pro, "from_free_plan"), (pro, "v", free, "to_free_plan"))
    for variant, end_user_id, wanted, why in cases:
        made = await studio.subscribe(variant, end_user_id)
        for path in ("change", "change/preview"):
            problem = await studio.refused(Code.ACTION_REFUSED, made, path, plan_variant_id=wanted)
            assert problem["context"] == {"subscription_id": made["subscription_id"], "why": why}


async def test_a_payment_changes_once(studio: Studio) -> None:
    """Its message may come again after whatever came between; for another subscription it is refused."""
    variants = await plans(studio)
    made, other = await studio.subscribe(variants["mini"]), await studio.subscribe(variants["mini"], "v")
    asked = {"plan_variant_id": variants["pro"], "payment_reference": "pay_1"}
    assert (await studio.act(made, "change", **asked))["plan_key"] == "pro"
    await studio.act(made, "change", plan_variant_id=variants["max"])
    assert (await studio.act(made, "change", **asked))["plan_key"] == "max"
    await studio.refused(Code.PAYMENT_REFERENCE_USED, other, "change", **asked)


async def test_variants_that_there_are_not(studio: Studio) -> None:
    """Unknown is 404, and what is no id of a variant 422; the same terms once more are refused."""
    variant = await studio.plan("pro", 100)
    made = await studio.subscribe(variant)
    for path in ("change", "change/preview"):
        await studio.refused(Code.NOT_FOUND, made, path, plan_variant_id="var_" + "0" * 32)
        problem = await studio.refused(Code.ACTION_REFUSED, made, path, plan_variant_id=variant)
        assert problem["context"]["why"] == "same_terms"
    answer = await studio.client.post(
        f"/v1/subscriptions/{made['subscription_id']}/change", {"plan_variant_id": made["subscription_id"]}
    )
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "plan_variant_id")


@pytest.mark.parametrize("at", [None, "now", "period_end"])
@pytest.mark.parametrize("wanted", ["mini", "max"])
async def test_a_preview_is_what_happens(studio: Studio, wanted: str, at: str | None) -> None:
    """The same credit, moment and subscription; asking changes nothing."""
    variants = await plans(studio)
    made = await studio.subscribe(variants["pro"])
    await studio.pass_days(3.25)
    before = await studio.show(made), await studio.total(), await studio.history(made)
    asked: dict[str, Any] = {"plan_variant_id": variants[wanted]} | ({} if at is None else {"at": at})
    preview = await studio.act(made, "change/preview", **asked)
    assert (await studio.show(made), await studio.total(), await studio.history(made)) == before
    changed = await studio.act(made, "change", **asked)
    assert preview["subscription"] == changed
    assert preview["credits_granted"] == await studio.total() - before[1]
    assert sum(grant["amount"] for grant in preview["grants"]) == preview["credits_granted"]
    is_now = changed["plan_key"] == wanted
    assert preview["action"] == ("change" if is_now else "schedule_change")
    effective_at = await studio.now() if is_now else later(made["period_end"])
    assert later(preview["effective_at"]) == effective_at


async def test_a_preview_minds_the_cap(studio: Studio) -> None:
    """It promises no credit that does not fit under it."""
    pro = await studio.plan("pro", 100, billing_mode="postpaid")
    grants = [{"key": key, "amount": 150, **TEN_DAYS, "accumulation_cap": 220} for key in ("one", "two")]
    capped = await studio.plan("capped", 0, billing_mode="postpaid", grants=grants)
    made = await studio.subscribe(pro)
    preview = await studio.act(made, "change/preview", plan_variant_id=capped)
    assert (preview["credits_granted"], [grant["amount"] for grant in preview["grants"]]) == (120, [50, 70])
    await studio.act(made, "change", plan_variant_id=capped)
    assert await studio.total() == 220


async def test_what_is_scheduled_is_taken_back(studio: Studio) -> None:
    """Once; a second change takes the place of the first."""
    variants = await plans(studio, billing_mode="postpaid")
    made = await studio.subscribe(variants["pro"])
    await studio.act(made, "change", plan_variant_id=variants["mini"])
    await studio.act(made, "change", plan_variant_id=variants["max"], at="period_end")
    assert (await studio.show(made))["scheduled"]["plan_key"] == "max"
    assert await studio.unschedule(made) == made
    answer = await studio.client.send("DELETE", f"/v1/subscriptions/{made['subscription_id']}/scheduled-change")
    assert (answer.status_code, answer.json()["context"]["why"]) == (409, "nothing_scheduled")
    await studio.pass_days(10)
    assert (await studio.show(made))["plan_key"] == "pro"
