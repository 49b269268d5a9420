"""What becomes of subscriptions by themselves, each thing at its moment, however rarely anybody looks."""

from datetime import timedelta
from typing import Any

import pytest

from tests.app.metering.test_features import published_plan
from tests.app.subscriptions.studio import TEN_DAYS, Studio, later


async def told_at(studio: Studio, name: str) -> list[Any]:
    """The states in which word was given."""
    return [body["state"] for body in await studio.told(f"subscription.{name}")]


@pytest.mark.parametrize("step", [45, 1])
async def test_postpaid_periods_turn(studio: Studio, step: int) -> None:
    """Each begins where the last ended, with its own credit; in one look or in many."""
    made = await studio.subscribe(await studio.plan("pro", 100, billing_mode="postpaid"))
    for _ in range(0, 45, step):
        await studio.pass_days(step)
    shown = await studio.show(made)
    assert (shown["state"], shown["period_index"]) == ("active", 4)
    assert later(shown["period_start"]) == later(made["period_start"], days=40)
    assert await studio.total() == 100
    assert await studio.ledger() == [("grant", 100), *[("expiry", -100), ("grant", 100)] * 4]
    renewed = await studio.told("subscription.renewed")
    assert [body["period_index"] for body in renewed] == [1, 2, 3, 4]
    starts = [body["closed_period"]["period_start"] for body in renewed] + [shown["period_start"]]
    assert [body["closed_period"]["period_end"] for body in renewed] == starts[1:]
    assert starts[0] == made["period_start"]
    await studio.edge_follows("u")


async def test_nobody_pays(studio: Studio) -> None:
    """First the tenant is told, then it is overdue, then it expires and the customer falls back."""
    await studio.free_plan()
    made = await studio.subscribe(await studio.plan("pro", 100, renewal_due_days=2, grace_period_days=4))
    await studio.pass_days(7.9)
    assert await told_at(studio, "renewal_due") == []
    await studio.pass_days(0.1)
    assert await told_at(studio, "renewal_due") == ["active"]
    await studio.pass_days(2)
    assert ((await studio.show(made))["state"], await told_at(studio, "overdue")) == ("overdue", ["overdue"])
    assert (await studio.total(), await studio.standing()) == (0, "subscription_overdue")
    await studio.edge_follows("u")
    await studio.pass_days(3.9)
    assert (await studio.show(made))["state"] == "overdue"
    await studio.pass_days(0.1)
    assert await studio.of() == [("pro", "expired"), ("free", "active")]
    assert await told_at(studio, "expired") == ["expired"]
    assert (await studio.total(), await studio.standing()) == (10, "ok")
    await studio.edge_follows("u")
    assert [action for action, *_ in await studio.actions(made)] == ["create", "fall_overdue", "expire"]


async def test_usage_while_overdue(studio: Studio) -> None:
    """Where the plan allows it, other credit can be used meanwhile."""
    variant = await studio.plan("pro", 100, allow_usage_while_overdue=True)
    made = await studio.subscribe(variant)
    await studio.client.made("/v1/credits/grants", {"end_user_id": "u", "amount": 7})
    await studio.pass_days(11)
    assert ((await studio.show(made))["state"], await studio.standing(), await studio.total()) == ("overdue", "ok", 7)


async def test_a_trial_ends(studio: Studio) -> None:
    """Postpaid it becomes a subscription by itself; prepaid it waits for its first payment."""
    terms: dict[str, Any] = {"trial_days": 5, "renewal_due_days": 2}
    postpaid = await studio.subscribe(await studio.plan("later", 100, billing_mode="postpaid", **terms))
    prepaid = await studio.subscribe(await studio.plan("first", 100, **terms), "v")
    await studio.pass_days(3)
    assert await told_at(studio, "trial_ending") == ["trialing", "trialing"]
    await studio.pass_days(2)
    first, second = await studio.show(postpaid), await studio.show(prepaid)
    assert (first["state"], first["period_start"], first["period_index"]) == ("active", postpaid["period_end"], 1)
    assert (second["state"], second["period_index"]) == ("overdue", 0)
    assert (await studio.total(), await studio.total("v")) == (100, 0)
    assert (await studio.actions(postpaid))[-1] == ("convert", "trialing", "active")
    assert (await studio.actions(prepaid))[-1] == ("fall_overdue", "trialing", "overdue")
    await studio.edge_follows("u")
    await studio.edge_follows("v")


async def test_what_is_left_rolls_over(studio: Studio) -> None:
    """Half of it, at most thirty, into the next cycle, and no farther."""
    grants = [{"amount": 100, **TEN_DAYS, "rollover": {"percent": 50, "cap": 30}}]
    await studio.subscribe(await studio.plan("pro", 0, billing_mode="postpaid", grants=grants))
    await studio.owe(80)
    await studio.pass_days(10)
    assert await studio.total() == 100 + 10
    await studio.pass_days(10)
    assert await studio.total() == 100 + 30
    assert [kind for kind, _ in await studio.ledger()][2:5] == ["rollover", "expiry", "grant"]


async def test_a_cap_of_rollover_is_of_the_cycle(studio: Studio) -> None:
    """Of whatever blocks the cycle's credit is: a change in its middle makes another one, and no more roll over."""
    rolled = {**TEN_DAYS, "rollover": {"percent": 50, "cap": 30}}
    made = await studio.subscribe(
        await studio.plan("pro", 0, billing_mode="postpaid", grants=[{"amount": 40, **rolled}])
    )
    for amount in (80, 120):
        terms = {**TEN_DAYS, "billing_mode": "postpaid", "grants": [{"amount": amount, **rolled}]}
        await studio.client.made("/v1/plans/pro/variants/ten_days/versions", terms)
        await studio.act(made, "change", plan_variant_id=made["plan_variant_id"])
    assert await studio.total() == 40 + 40 + 40
    await studio.pass_days(10)
    assert [each for each in await studio.ledger() if each[0] != "grant"] == [
        *[("rollover", 0), ("expiry", -20)],
        *[("rollover", 0), ("expiry", -30)],
        ("expiry", -40),
    ]
    assert await studio.total() == 120 + 30


async def test_what_rolled_over_does_not_count_to_a_cap(studio: Studio) -> None:
    """A cap is of what plans gave and is still that: the next cycle's credit comes whole beside it."""
    grants = [{"amount": 100, **TEN_DAYS, "rollover": {"percent": 50}, "accumulation_cap": 100}]
    await studio.subscribe(await studio.plan("pro", 0, billing_mode="postpaid", grants=grants))
    await studio.pass_days(10)
    blocks = (await studio.client.read("/v1/customers/u/credits"))["blocks"]
    assert {block["source"]: block["remaining"] for block in blocks} == {"plan": 100, "rollover": 50}


async def test_nothing_rolls_over_into_a_period_that_does_not_come(studio: Studio) -> None:
    """Where the subscription ends with its period, what is left of its credit expires."""
    grants = [{"amount": 100, **TEN_DAYS, "rollover": {"percent": 50}}]
    made = await studio.subscribe(await studio.plan("pro", 0, billing_mode="postpaid", grants=grants))
    await studio.act(made, "cancel")
    await studio.pass_days(10)
    assert (await studio.total(), [kind for kind, _ in await studio.ledger()]) == (0, ["grant", "expiry"])


async def test_what_is_owed_is_billed_with_the_period(studio: Studio) -> None:
    """It is for an invoice, so no later credit pays it; what is owed later is billed with the next one."""
    await studio.subscribe(await studio.plan("pro", 100, billing_mode="postpaid"))
    await studio.owe(140)
    await studio.pass_days(10)
    assert await studio.total() == 100
    await studio.owe(101)
    await studio.pass_days(10)
    billed = [body["closed_period"]["overage_billed"] for body in await studio.told("subscription.renewed")]
    assert billed == [40, 1]
    kinds = [kind for kind, _ in await studio.ledger()]
    assert kinds == ["grant", "adjustment", "overage_billed", "grant", "adjustment", "overage_billed", "grant"]


async def test_prepaid_periods_bill_nothing(studio: Studio) -> None:
    """What is owed is paid by the next credit."""
    made = await studio.subscribe(await studio.plan("pro", 100))
    await studio.owe(140)
    await studio.act(made, "renew")
    await studio.pass_days(10)
    [told] = await studio.told("subscription.renewed")
    assert told["closed_period"]["overage_billed"] == 0
    assert await studio.total() == 60


async def test_grants_have_cycles_of_their_own(studio: Studio) -> None:
    """One that comes daily comes daily, one that is given once comes once, in however many periods."""
    grants: list[dict[str, Any]] = [
        {"key": "daily", "amount": 5, "interval": "day"},
        {"key": "welcome", "amount": 1000, "once": True},
        {"key": "kept", "amount": 10, **TEN_DAYS, "expires_after": {"interval": "day", "interval_count": 25}},
    ]
    await studio.subscribe(await studio.plan("pro", 0, billing_mode="postpaid", grants=grants))
    assert await studio.total() == 1015
    await studio.pass_days(1)
    assert await studio.total() == 1015
    await studio.pass_days(20)
    assert await studio.total() == 1000 + 5 + 3 * 10
    given = [change for kind, change in await studio.ledger() if kind == "grant"]
    assert (given.count(5), given.count(10), given.count(1000)) == (22, 3, 1)


async def test_credit_does_not_pile_up_above_its_cap(studio: Studio) -> None:
    """Only as much is granted as lifts it to there."""
    grants = [{"amount": 100, **TEN_DAYS, "expires_after": {"interval": "year"}, "accumulation_cap": 250}]
    await studio.subscribe(await studio.plan("pro", 0, billing_mode="postpaid", grants=grants))
    await studio.pass_days(45)
    assert await studio.total() == 250
    assert [change for _, change in await studio.ledger()] == [100, 100, 50, 0, 0]


async def test_an_override_ends_beside_addons(studio: Studio) -> None:
    """It stands in the place of all that the base and the add-ons say together; where it ends, that holds again."""
    included = {"feature_key": "api_calls"}
    base = await studio.plan("pro", 0, billing_mode="postpaid", features=[{**included, "limit": 100}])
    extra = await studio.plan("extra", 0, kind="addon", billing_mode="postpaid", features=[{**included, "limit": 10}])
    await studio.subscribe(base)
    addons = [await studio.subscribe(extra) for _ in range(2)]
    override = {"limit": 500, "expires_at": (await studio.now() + timedelta(days=15)).isoformat()}
    path = "/v1/customers/u/overrides/api_calls"

    async def limit() -> int | None:
        await studio.view()
        plan = await published_plan(studio.core, studio.tenant, "u")
        micro = plan.features["api_calls"].limit_units_micro
        return None if micro is None else micro // 1_000_000

    assert await limit() == 120
    assert (await studio.client.send("PUT", path, json=override)).status_code == 200
    assert await limit() == 500
    await studio.act(addons[0], "cancel", at="now")
    await studio.pass_days(14)
    assert await limit() == 500
    await studio.pass_days(1)
    assert await limit() == 110
    assert (await studio.client.read(path))["expired"]
    await studio.act(addons[1], "cancel", at="now")
    assert await limit() == 100
