"""Pausing: time stands still for a subscription and for the credit that is tied to it."""

from datetime import timedelta

from app.wire.codes import Code
from tests.app.subscriptions.studio import TEN_DAYS, Studio, later


async def test_what_is_tied_to_its_time_waits(studio: Studio) -> None:
    """The plan's credit is set aside and comes back, what was granted besides stays; no time is lost."""
    made = await studio.subscribe(await studio.plan("pro", 100))
    await studio.client.made("/v1/credits/grants", {"end_user_id": "u", "amount": 7})
    await studio.owe(40)  # of the plan's, since it expires first
    await studio.pass_days(4)
    paused = await studio.act(made, "pause", reason="on holiday")
    assert (paused["state"], paused["set_aside"], paused["next_at"]) == ("paused", 60, None)
    assert later(paused["paused_at"]) == await studio.now()
    assert (await studio.total(), await studio.standing()) == (7, "subscription_paused")
    await studio.pass_days(30)
    assert await studio.show(made) == paused
    resumed = await studio.act(made, "resume")
    assert (resumed["state"], resumed["set_aside"], resumed["paused_at"]) == ("active", 0, None)
    assert (
        later(resumed["period_end"]) == later(made["period_end"], days=30) == (await studio.now()) + timedelta(days=6)
    )
    assert (await studio.total(), await studio.standing()) == (67, "ok")
    await studio.pass_days(6)
    assert ((await studio.show(made))["state"], await studio.total()) == ("overdue", 7)
    assert [kind for kind, _ in await studio.ledger()] == ["grant", "grant", "adjustment", "pause", "resume", "expiry"]


async def test_other_credit_is_usable_where_the_plan_says_so(studio: Studio) -> None:
    """Then checks do not mind the pause."""
    variant = await studio.plan("pro", 100, usable_while_paused=True)
    made = await studio.subscribe(variant)
    await studio.client.made("/v1/credits/grants", {"end_user_id": "u", "amount": 7})
    await studio.act(made, "pause")
    assert (await studio.total(), await studio.standing()) == (7, "ok")


async def test_what_lives_for_itself_stays(studio: Studio) -> None:
    """Credit that is given once, or that has a lifetime of its own, does not wait."""
    grants = [
        {"amount": 1, **TEN_DAYS},
        {"amount": 20, **TEN_DAYS, "expires_after": {"interval": "month"}},
        {"amount": 300, "once": True},
    ]
    made = await studio.subscribe(await studio.plan("pro", 0, grants=grants))
    paused = await studio.act(made, "pause")
    assert (paused["set_aside"], await studio.total()) == (1, 320)


async def test_periods_go_on_from_where_it_stood(studio: Studio) -> None:
    """Those that follow are counted from the end of the one that was lengthened."""
    made = await studio.subscribe(await studio.plan("pro", 100, billing_mode="postpaid"))
    await studio.pass_days(4)
    await studio.act(made, "pause")
    await studio.pass_days(1.5)
    await studio.act(made, "resume")
    await studio.pass_days(6 + 10)
    shown = await studio.show(made)
    assert (shown["period_index"], later(shown["period_start"])) == (2, later(made["period_end"], days=11.5))
    assert shown["next_at"] == shown["period_end"]


async def test_a_period_begins_where_it_began(studio: Studio) -> None:
    """Whatever pauses it had: as it is shown and as it is closed, periods leave no day out and have none twice."""
    made = await studio.subscribe(await studio.plan("pro", 100, billing_mode="postpaid"))
    shown: list[tuple[str, str]] = []
    for pauses in (1, 0, 2):
        for _ in range(pauses):
            await studio.pass_days(2)
            paused = await studio.act(made, "pause")
            await studio.pass_days(30)
            resumed = await studio.act(made, "resume")
            assert resumed["period_start"] == paused["period_start"]
            assert later(resumed["period_end"]) == later(paused["period_end"], days=30)
        present = await studio.show(made)
        shown.append((present["period_start"], present["period_end"]))
        await studio.pass_days((later(present["period_end"]) - await studio.now()).days)
    assert [start for start, _ in shown] == [made["period_start"], *(end for _, end in shown[:-1])]
    closed = [told["closed_period"] for told in await studio.told("subscription.renewed")]
    assert [(period["period_start"], period["period_end"]) for period in closed] == shown


async def test_a_preview_says_where_a_period_begins(studio: Studio) -> None:
    """Also after a pause: the present one goes on, or another interval begins one now."""
    made = await studio.subscribe(await studio.plan("pro", 100, billing_mode="postpaid"))
    await studio.act(made, "pause")
    await studio.pass_days(3)
    await studio.act(made, "resume")
    for interval, starts_at in (("day", later(made["period_start"])), ("month", await studio.now())):
        terms = {"interval": interval, "interval_count": 10 if interval == "day" else 1}
        other = await studio.plan(interval, 100, billing_mode="postpaid", **terms)
        previewed = (await studio.act(made, "change/preview", plan_variant_id=other, at="now"))["subscription"]
        assert later(previewed["period_start"]) == starts_at
        changed = await studio.act(made, "change", plan_variant_id=other, at="now")
        assert changed | {"next_at": None} == previewed | {"next_at": None}


async def test_what_is_to_happen_waits_too(studio: Studio) -> None:
    """A scheduled change takes place at the end that was moved, and can be taken back meanwhile."""
    mini = await studio.plan("mini", 50)
    made = await studio.subscribe(await studio.plan("pro", 100, billing_mode="postpaid"))
    await studio.act(made, "change", plan_variant_id=mini)
    await studio.act(made, "pause")
    await studio.pass_days(20)
    assert (await studio.show(made))["scheduled"]["plan_key"] == "mini"
    assert (await studio.unschedule(made))["scheduled"] is None


async def test_canceled_while_paused(studio: Studio) -> None:
    """What was set aside comes back with the time that it had left, as where it had gone on."""
    made = await studio.subscribe(await studio.plan("pro", 100))
    await studio.pass_days(4)
    await studio.act(made, "pause")
    await studio.pass_days(30)
    canceled = await studio.act(made, "cancel", at="now")
    assert (canceled["state"], canceled["set_aside"], await studio.total()) == ("canceled", 0, 100)
    await studio.pass_days(5)
    assert await studio.total() == 100
    await studio.pass_days(1)
    assert await studio.total() == 0


async def test_an_addon_by_itself(studio: Studio) -> None:
    """It gives nothing while it is paused, and the customer's plan goes on."""
    await studio.subscribe(await studio.plan("pro", 100))
    extra = await studio.subscribe(await studio.plan("extra", 7, kind="addon"))
    await studio.act(extra, "pause")
    assert (await studio.total(), await studio.standing()) == (100, "ok")
    await studio.act(extra, "resume")
    assert await studio.total() == 107


async def test_what_comes_back_meanwhile_waits_too(studio: Studio) -> None:
    """Voided in the pause, usage is with what is set aside, and lives as long as that once it goes on."""
    made = await studio.subscribe(await studio.plan("pro", 100))
    event_id = await studio.use(40)
    await studio.pass_days(4)
    assert (await studio.act(made, "pause"))["set_aside"] == 60
    await studio.pass_days(30)
    assert (await studio.void(event_id=event_id))["total_after"] == 0
    assert ((await studio.show(made))["set_aside"], await studio.total()) == (100, 0)
    assert (await studio.act(made, "resume"))["set_aside"] == 0
    await studio.pass_days(5)
    assert await studio.total() == 100
    await studio.pass_days(1)
    assert await studio.total() == 0


async def test_what_comes_back_after_it_has_the_time_that_was_left(studio: Studio) -> None:
    """Voided after two pauses, when its block would have expired, usage is there as long as the rest of the block."""
    made = await studio.subscribe(await studio.plan("pro", 100))
    event_id = await studio.use(40)
    for _ in range(2):
        await studio.pass_days(2)
        await studio.act(made, "pause")
        await studio.pass_days(15)
        await studio.act(made, "resume")
    assert (await studio.void(event_id=event_id))["total_after"] == 100
    [block, other] = (await studio.client.read("/v1/customers/u/credits"))["blocks"]
    assert block["expires_at"] == other["expires_at"] == (await studio.show(made))["period_end"]
    await studio.pass_days(6)
    assert await studio.total() == 0


async def test_a_grant_is_voided_where_it_is(studio: Studio) -> None:
    """What is set aside of it is taken back there; once it has gone on as another block, that is the one to void."""
    made = await studio.subscribe(await studio.plan("pro", 100))
    [block] = (await studio.client.read("/v1/customers/u/credits"))["blocks"]
    await studio.use(40)
    await studio.act(made, "pause")
    spent = await studio.void(Code.GRANT_SPENT, credit_block_id=block["credit_block_id"])
    assert spent["context"] == {"spent": 40}
    await studio.act(made, "resume")
    await studio.void(Code.GRANT_MOVED, credit_block_id=block["credit_block_id"])
    [later_block] = (await studio.client.read("/v1/customers/u/credits"))["blocks"]
    await studio.act(made, "pause")
    await studio.void(credit_block_id=later_block["credit_block_id"])
    assert ((await studio.act(made, "resume"))["set_aside"], await studio.total()) == (0, 0)
