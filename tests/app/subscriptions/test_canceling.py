"""Ending a subscription: at once or with its period, and what comes after."""

from datetime import timedelta
from typing import Any

import pytest

from app.wire.codes import Code
from tests.app.schema.catalogue import connected
from tests.app.subscriptions.studio import TEN_DAYS, Studio, later

ACTIONS = ("renew", "change", "pause", "resume", "cancel")


async def test_with_its_period(studio: Studio) -> None:
    """It goes on to the end, renewed or not; nobody is asked to renew it."""
    made = await studio.subscribe(await studio.plan("pro", 100))
    canceled = await studio.act(made, "cancel")
    assert canceled == made | {
        "scheduled": {
            "action": "cancel",
            "at": made["period_end"],
            **dict.fromkeys(("plan_variant_id", "plan_key", "variant_key", "version")),
        },
        "next_at": made["period_end"],
    }
    assert await studio.total() == 100
    await studio.pass_days(10)
    assert ((await studio.show(made))["state"], await studio.total()) == ("canceled", 0)
    assert await studio.told("subscription.renewal_due") == []
    assert (await studio.actions(made))[-1] == ("end", "active", "canceled")
    await studio.edge_follows("u")


async def test_at_once(studio: Studio) -> None:
    """Its credit stays as long as it would have; nothing of it rolls over."""
    variant = await studio.plan("pro", 100, grants=[ten_days_grant(100, rollover={"percent": 100})])
    made = await studio.subscribe(variant)
    canceled = await studio.act(made, "cancel", at="now")
    assert (canceled["state"], canceled["next_at"], await studio.total()) == ("canceled", None, 100)
    await studio.pass_days(9)
    assert await studio.total() == 100
    await studio.pass_days(1)
    assert await studio.total() == 0
    assert [kind for kind, _ in await studio.ledger()] == ["grant", "expiry"]


async def test_what_comes_back_to_it_does_not_go_on(studio: Studio) -> None:
    """Nothing of a block rolls over that was spent when its subscription ended, should a void give something back."""
    variant = await studio.plan("pro", 100, grants=[ten_days_grant(100, rollover={"percent": 100})])
    first = await studio.subscribe(variant)
    await studio.subscribe(variant, "v")
    for end_user_id in ("u", "v"):
        await studio.owe(100, end_user_id)
    await studio.act(first, "cancel", at="now")
    statement = (
        "SELECT a.end_user_id, NOT b.terms::jsonb -> 'rollover' ? 'is_off', b.terms::jsonb ? 'tie' "
        "FROM credit_blocks b JOIN accounts a ON a.id = b.account_id WHERE NOT b.live ORDER BY a.end_user_id"
    )
    async with connected(studio.urls.owner) as connection:
        rows = await connection.fetch(statement)
    assert [tuple(row) for row in rows] == [("u", False, True), ("v", True, True)]


def ten_days_grant(amount: int, **more: object) -> dict[str, object]:
    """Credit every ten days."""
    return {"amount": amount, "interval": "day", "interval_count": 10, **more}


async def test_taken_back(studio: Studio) -> None:
    """Before the period's end, it goes on as if nothing had been."""
    made = await studio.subscribe(await studio.plan("pro", 100))
    await studio.act(made, "cancel")
    assert await studio.unschedule(made) == made
    await studio.act(made, "renew")
    await studio.pass_days(10)
    assert (await studio.show(made))["state"] == "active"


async def test_instead_of_a_change(studio: Studio) -> None:
    """One thing at most happens at the end of the period: what was said last. A change at once undoes it too."""
    mini, max_ = await studio.plan("mini", 50), await studio.plan("max", 300)
    made = await studio.subscribe(await studio.plan("pro", 100))
    await studio.act(made, "change", plan_variant_id=mini)
    assert (await studio.act(made, "cancel"))["scheduled"]["action"] == "cancel"
    assert (await studio.act(made, "change", plan_variant_id=mini))["scheduled"]["action"] == "change"
    await studio.act(made, "cancel")
    assert (await studio.act(made, "change", plan_variant_id=max_))["scheduled"] is None


async def test_the_customer_falls_back(studio: Studio) -> None:
    """Onto the free plan, with a subscription of its own and the credit that it gives."""
    await studio.free_plan()
    made = await studio.subscribe(await studio.plan("pro", 100))
    await studio.act(made, "cancel", at="now")
    listed = (await studio.client.read("/v1/subscriptions", state="active"))["data"]
    [free] = listed
    assert (free["plan_key"], await studio.total(), await studio.standing()) == ("free", 110, "ok")
    assert later(free["period_end"]) == later(free["period_start"], days=10)
    assert await studio.actions(free) == [("fall_back", None, "active")]
    [told] = await studio.told("subscription.fell_back")
    assert told["subscription_id"] == free["subscription_id"]


@pytest.mark.parametrize("used", [0, 30, 100])
async def test_who_comes_back_keeps_the_rollover(studio: Studio, used: int) -> None:
    """Of the cycle in which they left the free plan, and of a block of it too that was spent meanwhile."""
    grants = [ten_days_grant(100, rollover={"percent": 50})]
    await studio.subscribe(await studio.free_plan(0, grants=grants))
    event_id = await studio.use(used) if used else None
    made = await studio.subscribe(await studio.plan("pro", 0))
    await studio.act(made, "cancel", at="now")
    if event_id is not None:
        await studio.void(event_id=event_id)
    assert await studio.total() == 100
    await studio.pass_days(10)
    assert await studio.total() == 50 + 100


async def test_who_comes_back_has_it_as_long_as_a_pause_made_it(studio: Studio) -> None:
    """Credit that a pause has moved lives on to the end of its own cycle, though another one ends where it would have.

    Four weeks of 280 have become five by the pause, and in the fourth nothing of the week's own was used.
    """
    week = {"interval": "week", "interval_count": 1}
    grants = [{"amount": 280, "interval": "week", "interval_count": 4}, {"amount": 70, **week}]
    first = await studio.subscribe(await studio.free_plan(0, grants=grants, interval="week", interval_count=4))
    event_id = await studio.use(350)
    await studio.pass_days(3)
    await studio.act(first, "pause")
    await studio.pass_days(7)
    await studio.act(first, "resume")
    await studio.pass_days(12)
    made = await studio.subscribe(await studio.plan("pro", 0))
    await studio.act(made, "cancel", at="now")
    await studio.void(event_id=event_id)
    assert await studio.total() == 280 + 70
    await studio.pass_days(7)
    assert await studio.total() == 280 + 70
    await studio.pass_days(5.9)
    assert await studio.total() == 280 + 70


MONTH: dict[str, Any] = {"interval": "month", "interval_count": 1}


async def test_a_version_in_between_that_gives_nothing(studio: Studio) -> None:
    """What the free plan gave in the month that runs counts, and ending with a period is done in time."""
    free = await studio.free_plan(0, grants=[{"amount": 10, **MONTH}], **MONTH)
    pro = await studio.plan("pro", 0, interval="day", interval_count=3)
    await studio.subscribe(free)
    for grants in ([], [{"amount": 10, **MONTH}]):
        made = await studio.subscribe(pro)
        await studio.act(made, "cancel")
        newer = {**MONTH, "billing_mode": "postpaid", "grants": grants, "features": []}
        await studio.client.made("/v1/plans/free/variants/ten_days/versions", newer)
        await studio.pass_days(3)
        assert [key for key, state in await studio.of() if state == "active"] == ["free"]
        assert ((await studio.show(made))["state"], await studio.total()) == ("canceled", 10)
        await studio.edge_follows("u")
    async with connected(studio.urls.owner) as connection:
        assert await connection.fetchval("SELECT count(*) FROM rejected_events") == 0


async def test_the_free_plan_ends_for_good(studio: Studio) -> None:
    """Whoever leaves it has no subscription; it does not fall back to itself."""
    made = await studio.subscribe(await studio.free_plan())
    await studio.act(made, "cancel", at="now")
    assert await studio.of() == [("free", "canceled")]


async def test_before_it_has_begun(studio: Studio) -> None:
    """It gives nothing and bills nothing; the free plan goes on."""
    await studio.subscribe(await studio.free_plan())
    starts_at = (await studio.now() + timedelta(days=3)).isoformat()
    made = await studio.subscribe(await studio.plan("pro", 100), starts_at=starts_at)
    problem = await studio.refused(Code.ILLEGAL_MOVE, made, "cancel")  # it has no period to end with
    assert problem["context"]["legal"] == ["cancel"]
    await studio.act(made, "cancel", at="now")
    await studio.pass_days(4)
    assert sorted(await studio.of()) == [("free", "active"), ("pro", "canceled")]
    assert await studio.total() == 10


@pytest.mark.parametrize("action", ACTIONS)
async def test_nothing_after_the_end(studio: Studio, action: str) -> None:
    """Whatever is asked is refused with the state, and nothing changes."""
    variant = await studio.plan("pro", 100)
    made = await studio.subscribe(variant)
    await studio.act(made, "cancel", at="now")
    body = {"plan_variant_id": await studio.plan("max", 300)} if action == "change" else {}
    problem = await studio.refused(Code.ILLEGAL_MOVE, made, action, **body)
    context = problem["context"]
    assert (context["subscription_id"], context["state"], context["legal"]) == (made["subscription_id"], "canceled", [])


@pytest.mark.parametrize(
    ("before", "action", "legal"),
    [
        ((), "resume", ["renew", "change", "schedule_change", "pause", "cancel", "cancel_at_period_end"]),
        (("cancel",), "resume", ["change", "schedule_change", "unschedule", "pause", "cancel", "cancel_at_period_end"]),
        (("pause",), "pause", ["resume", "cancel"]),
        (("pause",), "renew", ["resume", "cancel"]),
        (("pause",), "cancel", ["resume", "cancel"]),
        (("overdue",), "pause", ["renew", "cancel"]),
        (("overdue",), "cancel", ["renew", "cancel"]),
    ],
)
async def test_moves_that_are_not_possible(
    studio: Studio, before: tuple[str, ...], action: str, legal: list[str]
) -> None:
    """Refused with the state and what is possible in it."""
    made = await studio.subscribe(await studio.plan("pro", 100))
    for step in before:
        await (studio.pass_days(11) if step == "overdue" else studio.act(made, step))
    problem = await studio.refused(Code.ILLEGAL_MOVE, made, action)
    assert problem["context"]["state"] == (await studio.show(made))["state"]
    assert problem["context"]["legal"] == legal


async def test_moves_that_its_customer_has_not(studio: Studio) -> None:
    """A postpaid one is not renewed; the free plan changes to a newer version of itself, until another is to come."""
    possible = ["pause", "cancel", "cancel_at_period_end"]
    changes = ["change", "schedule_change"]

    async def legal(made: Any) -> list[str]:
        return (await studio.refused(Code.ILLEGAL_MOVE, made, "resume"))["context"]["legal"]

    free = await studio.free_plan()
    made = await studio.subscribe(free)
    assert await legal(made) == possible
    newer = {**TEN_DAYS, "billing_mode": "postpaid", "grants": [{"amount": 11, **TEN_DAYS}], "features": []}
    await studio.client.made("/v1/plans/free/variants/ten_days/versions", newer)
    assert await legal(made) == [*changes, *possible]
    starts_at = (await studio.now() + timedelta(days=3)).isoformat()
    await studio.subscribe(postpaid := await studio.plan("pro", 100, billing_mode="postpaid"), starts_at=starts_at)
    assert await legal(made) == possible
    assert await legal(await studio.subscribe(postpaid, "v")) == [*changes, *possible]
