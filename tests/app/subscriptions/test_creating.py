"""Subscribing: at once or later, with a trial or without, for a term or for ever, beside another or in its place."""

from datetime import timedelta
from typing import Any

import pytest

from app.subscriptions.book import MAX_IN_FORCE
from app.wire.codes import Code
from tests.app.metering.test_features import published_plan
from tests.app.subscriptions.studio import Studio, later
from tests.app.web.test_problems import assert_problem

TRIAL: dict[str, Any] = {"trial_days": 5, "billing_mode": "postpaid"}


async def test_at_once(studio: Studio) -> None:
    """Its first period begins at that moment, and its credit is there."""
    variant, now = await studio.plan("pro", 100), await studio.now()
    made = await studio.subscribe(variant)
    names = ("state", "plan_key", "variant_key", "version", "plan_kind", "billing_mode", "period_index", "renewed")
    assert [made[name] for name in names] == ["active", "pro", "ten_days", 1, "base", "prepaid", 0, False]
    assert (later(made["period_start"]), later(made["period_end"])) == (now, now + timedelta(days=10))
    assert (made["scheduled"], made["contract"], made["paused_at"], made["overdue_until"]) == (None, None, None, None)
    assert later(made["next_at"]) == now + timedelta(days=7)  # its renewal is asked for
    assert await studio.total() == 100
    assert await studio.show(made) == made


@pytest.mark.parametrize(("trial_days", "told"), [(0, "renewal_due"), (2, "trial_ending")])
async def test_that_it_was_made_is_told_first(studio: Studio, trial_days: int, told: str) -> None:
    """Also where its first period is so short that the next one has to be paid for at once."""
    await studio.subscribe(await studio.plan("pro", 100, trial_days=trial_days, renewal_due_days=10))
    names = [name for name in await studio.names_told() if name != "customer.created"]
    assert names == ["subscription.created", "credits.granted", f"subscription.{told}"]


async def test_that_it_fell_back_is_told_first(studio: Studio) -> None:
    """Behind what it fell back from, before the credit of the free plan."""
    await studio.free_plan()
    made = await studio.subscribe(await studio.plan("pro", 100))
    await studio.act(made, "cancel", at="now")
    names = ["subscription.canceled", "subscription.fell_back", "credits.granted"]
    assert (await studio.names_told())[-3:] == names


async def test_one_trial_of_each_plan(studio: Studio) -> None:
    """A customer has one of each plan, whatever became of it; another customer has their own."""
    pro, max_ = await studio.plan("pro", 100, **TRIAL), await studio.plan("max", 300, **TRIAL)
    first = await studio.subscribe(pro)
    assert (first["state"], later(first["period_end"])) == ("trialing", later(first["period_start"], days=5))
    assert await studio.total() == 100
    await studio.act(first, "cancel", at="now")
    second = await studio.subscribe(pro)
    assert (second["state"], later(second["period_end"])) == ("active", later(second["period_start"], days=10))
    await studio.act(second, "cancel", at="now")
    assert (await studio.subscribe(max_))["state"] == "trialing"
    assert (await studio.subscribe(pro, "v"))["state"] == "trialing"


async def test_they_are_listed_in_the_order_in_which_they_were_made(studio: Studio) -> None:
    """Whatever became of them, whoever's they are, and however many make a page."""
    extra = await studio.plan("extra", 7, kind="addon")
    made: list[Any] = []
    for end_user_id in "vuvu":
        made.append(await studio.subscribe(extra, end_user_id))
        await studio.pass_days(0.1)
    await studio.act(made[1], "cancel", at="now")
    listed: list[str] = []
    query: dict[str, Any] = {"limit": 3}
    while query.get("cursor", "") is not None:
        page = await studio.client.read("/v1/subscriptions", **query)
        listed += [body["subscription_id"] for body in page["data"]]
        query["cursor"] = page["next_cursor"]
    assert listed == [body["subscription_id"] for body in made]
    of_one = (await studio.client.read("/v1/subscriptions", end_user_id="u"))["data"]
    assert [body["subscription_id"] for body in of_one] == [made[1]["subscription_id"], made[3]["subscription_id"]]


async def test_without_the_trial(studio: Studio) -> None:
    """Where it is not wanted the first period is paid for, and the trial is still to be had."""
    variant = await studio.plan("pro", 100, **TRIAL)
    made = await studio.subscribe(variant, trial=False)
    assert (made["state"], later(made["period_end"])) == ("active", later(made["period_start"], days=10))
    await studio.act(made, "cancel", at="now")
    assert (await studio.subscribe(variant))["state"] == "trialing"


async def test_later(studio: Studio) -> None:
    """Until it starts it gives nothing, and no other is to come."""
    variant, now = await studio.plan("pro", 100), await studio.now()
    made = await studio.subscribe(variant, starts_at=(now + timedelta(days=3)).isoformat())
    assert (made["state"], later(made["next_at"])) == ("scheduled", now + timedelta(days=3))
    assert made["period_start"] == made["period_end"] == made["next_at"]
    assert await studio.total() == 0
    body = {"end_user_id": "u", "plan_variant_id": variant}
    problem = assert_problem(await studio.client.post("/v1/subscriptions", body), Code.SUBSCRIPTION_EXISTS)
    assert problem["context"] == {"subscription_id": made["subscription_id"]}
    await studio.pass_days(2)
    assert (await studio.show(made))["state"] == "scheduled"
    await studio.pass_days(1)
    started = await studio.show(made)
    assert (started["state"], later(started["period_start"])) == ("active", now + timedelta(days=3))
    assert await studio.total() == 100
    await studio.edge_follows("u")


@pytest.mark.parametrize("days", [-1, 366 * 11])
async def test_starts_that_cannot_be(studio: Studio, days: int) -> None:
    """Neither in the past nor farther away than anybody means."""
    starts_at = (await studio.now() + timedelta(days=days)).isoformat()
    body = {"end_user_id": "u", "plan_variant_id": await studio.plan("pro", 100), "starts_at": starts_at}
    assert_problem(await studio.client.post("/v1/subscriptions", body), Code.INVALID_VALUE, "starts_at")
    assert_problem(await studio.client.get("/v1/customers/u"), Code.UNKNOWN_CUSTOMER)


async def test_a_contract_that_ends(studio: Studio) -> None:
    """After its periods, a trial not among them, and the customer falls back."""
    await studio.free_plan()
    variant = await studio.plan("pro", 100, **TRIAL)
    made = await studio.subscribe(variant, contract={"periods": 2})
    contract = made["contract"]
    assert later(contract.pop("ends_at")) == later(made["period_start"], days=5 + 20)
    assert contract == {"periods": 2, "auto_renew": False, "periods_left": 2}
    await studio.pass_days(5 + 10 + 9)
    shown = await studio.show(made)
    assert (shown["state"], shown["contract"]["periods_left"]) == ("active", 0)
    assert shown["contract"]["ends_at"] == shown["period_end"]
    await studio.pass_days(1)
    assert (await studio.show(made))["contract"] == contract | {"periods_left": 0, "ends_at": None}
    assert await studio.of() == [("pro", "canceled"), ("free", "active")]
    await studio.edge_follows("u")


async def test_a_contract_that_renews(studio: Studio) -> None:
    """It goes on for as many periods again."""
    variant = await studio.plan("pro", 100, billing_mode="postpaid")
    made = await studio.subscribe(variant, contract={"periods": 2, "auto_renew": True})
    await studio.pass_days(25)
    shown = await studio.show(made)
    assert (shown["state"], shown["period_index"], shown["contract"]) == ("active", 2, made["contract"])
    assert shown["contract"] == {"periods": 2, "auto_renew": True, "periods_left": 1, "ends_at": None}


async def test_what_is_refused_in_the_last_period_of_a_contract(studio: Studio) -> None:
    """No word tells of a cancellation that nobody asked for, nor that nothing is going to happen."""
    made = await studio.subscribe(await studio.plan("pro", 100), contract={"periods": 1})
    refused = await studio.refused(Code.ACTION_REFUSED, made, "renew", payment_reference="pay_1")
    assert refused["detail"] == (
        "It ends with its period, so there is no next one; where it is to be canceled, take that back first."
    )
    path = f"/v1/subscriptions/{made['subscription_id']}/scheduled-change"
    problem = assert_problem(await studio.client.send("DELETE", path), Code.ACTION_REFUSED)
    assert problem["context"]["why"] == "nothing_scheduled"
    assert problem["detail"] == "Neither a change nor a cancellation is scheduled; the end of a contract is none."


async def test_canceled_before_its_contract_ends(studio: Studio) -> None:
    """A contract is no bar: it says when the subscription ends at the latest, and `scheduled` what comes before."""
    made = await studio.subscribe(await studio.plan("pro", 100, billing_mode="postpaid"), contract={"periods": 3})
    canceled = await studio.act(made, "cancel")
    assert canceled["contract"] == made["contract"]
    assert canceled["scheduled"]["at"] == made["period_end"] < made["contract"]["ends_at"]
    await studio.pass_days(10)
    assert (await studio.show(made))["state"] == "canceled"


async def test_addons_beside_a_base(studio: Studio) -> None:
    """Any number of them, of the same variant too; each has periods and credit of its own."""
    base, addon = await studio.plan("pro", 100), await studio.plan("extra", 7, kind="addon")
    await studio.subscribe(base)
    made = [await studio.subscribe(addon) for _ in range(2)]
    assert [body["plan_kind"] for body in made] == ["addon", "addon"]
    assert await studio.total() == 114
    await studio.act(made[0], "cancel", at="now")
    assert sorted(await studio.of()) == [("extra", "active"), ("extra", "canceled"), ("pro", "active")]


async def test_the_one_that_came_last(studio: Studio) -> None:
    """It says what is of one of them only, and stands last in the list: also where time stands still."""
    await studio.client.made("/v1/features", {"key": "tier", "name": "Tier", "kind": "static"})
    keys = ("a", "b", "c", "d")
    addons = [await studio.plan(key, 1, kind="addon", features=[{"feature_key": "tier", "value": key}]) for key in keys]
    for _ in range(2):
        for addon, key in zip(addons, keys, strict=True):
            await studio.subscribe(addon)
            terms = (await published_plan(studio.core, studio.tenant, "u")).features["tier"]
            assert terms.value == f'"{key}"'
    assert [key for key, _ in await studio.of()] == [*keys, *keys]


async def test_as_many_as_a_customer_may_have(studio: Studio) -> None:
    """One more is refused; where one has ended there is a place."""
    addon = await studio.plan("extra", 1, kind="addon")
    made = [await studio.subscribe(addon) for _ in range(MAX_IN_FORCE)]
    body = {"end_user_id": "u", "plan_variant_id": addon}
    assert_problem(await studio.client.post("/v1/subscriptions", body), Code.TOO_MANY_SUBSCRIPTIONS)
    await studio.act(made[3], "cancel", at="now")
    await studio.subscribe(addon)


async def test_an_addon_first(studio: Studio) -> None:
    """It does not stand in the way of a base plan."""
    base, addon = await studio.plan("pro", 100), await studio.plan("extra", 7, kind="addon")
    await studio.subscribe(addon)
    await studio.subscribe(base)
    assert sorted(await studio.of()) == [("extra", "active"), ("pro", "active")]


async def test_in_the_place_of_the_free_plan(studio: Studio) -> None:
    """It makes way at once, its credit stays to the end of its period, and coming back gives none again."""
    free, pro = await studio.free_plan(), await studio.plan("pro", 100)
    first = await studio.subscribe(free)
    for _ in range(2):
        made = await studio.subscribe(pro)
        assert (await studio.show(first))["state"] == "canceled"
        await studio.act(made, "cancel", at="now")
    states = [("free", "active"), *[("free", "canceled")] * 2, *[("pro", "canceled")] * 2]
    assert sorted(await studio.of()) == states
    assert await studio.total() == 10 + 100 + 100
    assert ("replace", "active", "canceled") in await studio.actions(first)


async def test_to_come_in_the_place_of_the_free_plan(studio: Studio) -> None:
    """The free plan stays until the other one starts."""
    free, pro = await studio.free_plan(), await studio.plan("pro", 100)
    first = await studio.subscribe(free)
    starts_at = await studio.now() + timedelta(days=3)
    await studio.subscribe(pro, starts_at=starts_at.isoformat())
    assert sorted(await studio.of()) == [("free", "active"), ("pro", "scheduled")]
    await studio.pass_days(3)
    assert sorted(await studio.of()) == [("free", "canceled"), ("pro", "active")]
    assert later((await studio.history(first))[-1]["at"]) == starts_at


async def test_what_is_to_be_replaced_is_not_changed(studio: Studio) -> None:
    """What is to come has been decided."""
    free, pro = await studio.free_plan(), await studio.plan("pro", 100)
    first = await studio.subscribe(free)
    starts_at = (await studio.now() + timedelta(days=3)).isoformat()
    coming = await studio.subscribe(pro, starts_at=starts_at)
    problem = await studio.refused(Code.SUBSCRIPTION_EXISTS, first, "change", plan_variant_id=pro)
    assert problem["context"] == {"subscription_id": coming["subscription_id"]}


async def test_in_the_place_of_what_was_the_free_plan(studio: Studio) -> None:
    """Whoever came to it while it was the free plan leaves it as easily, whatever is the free plan by now."""
    free, pro = await studio.free_plan(), await studio.plan("pro", 100)
    await studio.subscribe(free)
    answer = await studio.client.send("PATCH", "/v1/environment", json={"free_plan_variant_id": None})
    assert answer.status_code == 200, answer.text
    await studio.subscribe(pro)
    assert sorted(await studio.of()) == [("free", "canceled"), ("pro", "active")]


async def test_back_on_what_was_the_free_plan(studio: Studio) -> None:
    """Whoever has had its credit for the time that runs is not given it again, whatever is the free plan by now."""
    free = await studio.free_plan()
    made = await studio.subscribe(free)
    await studio.pass_days(2)
    await studio.act(made, "cancel", at="now")
    starts_at = (await studio.now() + timedelta(days=3)).isoformat()
    again = await studio.subscribe(free, starts_at=starts_at)
    answer = await studio.client.send("PATCH", "/v1/environment", json={"free_plan_variant_id": None})
    assert answer.status_code == 200, answer.text
    await studio.pass_days(4)
    assert ((await studio.show(again))["state"], await studio.total()) == ("active", 10)
    await studio.pass_days(10)
    assert await studio.total() == 10


async def test_one_base_at_a_time(studio: Studio) -> None:
    """Another plan is refused with the one that is in force, and nothing comes of it."""
    pro, max_ = await studio.plan("pro", 100), await studio.plan("max", 300)
    made = await studio.subscribe(pro)
    for variant in (pro, max_):
        body = {"end_user_id": "u", "plan_variant_id": variant}
        problem = assert_problem(await studio.client.post("/v1/subscriptions", body), Code.SUBSCRIPTION_EXISTS)
        assert problem["context"] == {"subscription_id": made["subscription_id"]}
    assert await studio.of() == [("pro", "active")]
    assert await studio.total() == 100
