"""Moving subscribers to the newest version of their variant."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from app.orders.service import Orders
from app.orders.store import CarriedOut
from app.wire.orders import Act, Order
from tests.app.core import EVENTS_OF_A_FEATURE, Tenant
from tests.app.subscriptions.studio import TEN_DAYS, Studio

pytestmark = pytest.mark.usefixtures("flusher")
PATH = "/v1/plans/pro/variants/monthly/migrate"


def terms(amount: int) -> dict[str, Any]:
    """A version that gives so much a month."""
    return {"interval": "month", "billing_mode": "postpaid", "grants": [{"amount": amount, "interval": "month"}]}


async def subscribed(tenant: Tenant, *end_users: str) -> dict[str, str]:
    """The ids of subscriptions of these customers to the first version, of 100 credits."""
    await tenant.sandbox.made("/v1/features", EVENTS_OF_A_FEATURE)
    await tenant.sandbox.made("/v1/plans", {"key": "pro", "name": "Pro"})
    variant = await tenant.sandbox.made("/v1/plans/pro/variants", {"key": "monthly", **terms(100)})
    body = {"plan_variant_id": variant["plan_variant_id"]}
    made = {name: await tenant.sandbox.made("/v1/subscriptions", {"end_user_id": name, **body}) for name in end_users}
    return {name: subscription["subscription_id"] for name, subscription in made.items()}


async def migrate(tenant: Tenant, **asked: Any) -> Any:
    """What the call answers."""
    answer = await tenant.sandbox.post(PATH, asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_publishing_leaves_subscribers_where_they_are(tenant: Tenant) -> None:
    """The preview counts who would be moved and what they would get, and moves nobody."""
    ids = await subscribed(tenant, "a", "b", "c")
    await tenant.sandbox.made("/v1/plans/pro/variants/monthly/versions", terms(250))
    would = await migrate(tenant, at="now", dry_run=True)
    assert (would["upgraded"], would["downgraded"], would["version"]) == (3, 0, 2)
    assert would["from_versions"] == {"1": 3}
    assert 449 < would["credits_granted"] <= 450
    for subscription_id in ids.values():
        assert (await tenant.sandbox.read(f"/v1/subscriptions/{subscription_id}"))["version"] == 1


async def test_moving_at_once(tenant: Tenant) -> None:
    """Everybody is on the newest version and has what it gives above; the second time there is nobody to move."""
    ids = await subscribed(tenant, "a", "b")
    await tenant.sandbox.made("/v1/plans/pro/variants/monthly/versions", terms(250))
    done = await migrate(tenant, at="now", reason="new terms")
    assert (done["upgraded"], done["staying"], done["next_cursor"]) == (2, {}, None)
    for name, subscription_id in ids.items():
        assert (await tenant.sandbox.read(f"/v1/subscriptions/{subscription_id}"))["version"] == 2
        assert 249 < (await tenant.sandbox.read(f"/v1/customers/{name}/credits"))["total"] <= 250
    again = await migrate(tenant, at="now")
    assert (again["upgraded"], again["downgraded"], again["staying"]) == (0, 0, {})


async def test_who_stays_and_why(tenant: Tenant) -> None:
    """Who has paused or is leaving is left alone; who is to be moved already is not moved twice."""
    ids = await subscribed(tenant, "stays", "leaves", "rests")
    await tenant.sandbox.made("/v1/plans/pro/variants/monthly/versions", terms(50))
    for name, action in (("leaves", "cancel"), ("rests", "pause")):
        answer = await tenant.sandbox.post(f"/v1/subscriptions/{ids[name]}/{action}", {})
        assert answer.status_code == 200, answer.text
    done = await migrate(tenant)
    assert (done["upgraded"], done["downgraded"], done["credits_granted"]) == (0, 1, 0)
    assert done["staying"] == {"leaving": 1, "paused": 1}
    scheduled = (await tenant.sandbox.read(f"/v1/subscriptions/{ids['stays']}"))["scheduled"]
    assert (scheduled["action"], scheduled["version"]) == ("change", 2)
    assert (await migrate(tenant))["staying"] == {"moved": 1, "leaving": 1, "paused": 1}


@pytest.mark.parametrize("at", ["now", "period_end"])
@pytest.mark.parametrize("way", ["cancel", "change"])
async def test_who_leaves_meanwhile_leaves(tenant: Tenant, monkeypatch: pytest.MonkeyPatch, at: str, way: str) -> None:
    """Whoever is about to be moved, and cancels or goes to another variant just then, is not kept or fetched back."""
    ids = await subscribed(tenant, "a")
    await tenant.sandbox.made("/v1/plans/pro/variants/monthly/versions", terms(250))
    other = await tenant.sandbox.made("/v1/plans/pro/variants", {"key": "other", **terms(300)})
    bodies = {"cancel": {}, "change": {"plan_variant_id": other["plan_variant_id"]}}
    give = Orders.give

    async def leave_before(orders: Orders, environment_id: UUID, end_user_id: str, order: Order) -> CarriedOut:
        if isinstance(order, Act) and order.unless_leaving:
            answer = await tenant.sandbox.post(f"/v1/subscriptions/{ids['a']}/{way}", bodies[way])
            assert answer.status_code == 200, answer.text
        return await give(orders, environment_id, end_user_id, order)

    monkeypatch.setattr(Orders, "give", leave_before)
    done = await migrate(tenant, at=at)
    assert (done["upgraded"], done["downgraded"], done["staying"]) == (0, 0, {"leaving": 1})
    stands = await tenant.sandbox.read(f"/v1/subscriptions/{ids['a']}")
    assert stands["variant_key"] == ("monthly" if way == "cancel" else "other")
    assert (stands["scheduled"] or {}).get("action") == ("cancel" if way == "cancel" else None)


async def test_it_goes_on_page_by_page(tenant: Tenant) -> None:
    """Each call moves as many as it is asked to; a call that is repeated under its key answers the same."""
    await subscribed(tenant, "a", "b", "c")
    await tenant.sandbox.made("/v1/plans/pro/variants/monthly/versions", terms(250))
    first = await migrate(tenant, limit=2, at="now")
    assert (first["upgraded"], first["next_cursor"] is not None) == (2, True)
    rest = {"limit": 2, "at": "now", "cursor": first["next_cursor"]}
    last = await tenant.sandbox.post(PATH, rest, key="k")
    assert (last.json()["upgraded"], last.json()["next_cursor"]) == (1, None)
    assert (await tenant.sandbox.post(PATH, rest, key="k")).content == last.content


@pytest.mark.parametrize("at", ["now", "period_end"])
async def test_the_preview_says_what_is_done(studio: Studio, at: str) -> None:
    """Word for word: who changes and how, what they are granted as far as it fits, and who stays."""
    pro, extra = await studio.plan("pro", 100), await studio.plan("extra", 250, kind="addon")
    made = {name: await studio.subscribe(pro, name) for name in ("early", "full", "paused", "leaving")}
    await studio.subscribe(extra, "full")
    await studio.act(made["paused"], "pause")
    await studio.act(made["leaving"], "cancel")
    await studio.pass_days(5)
    made["late"] = await studio.subscribe(pro, "late")
    credit = {"amount": 300, **TEN_DAYS, "accumulation_cap": 400}
    await studio.client.made("/v1/plans/pro/variants/ten_days/versions", {**TEN_DAYS, "grants": [credit]})
    before = {name: await studio.total(name) for name in made}
    answers = [
        await studio.client.post("/v1/plans/pro/variants/ten_days/migrate", {"at": at, "dry_run": is_dry})
        for is_dry in (True, False)
    ]
    would, done = (answer.json() for answer in answers)
    assert would == done | {"dry_run": True}
    assert (done["upgraded"], done["from_versions"], done["staying"]) == (3, {"1": 3}, {"leaving": 1, "paused": 1})
    gained = {name: await studio.total(name) - before[name] for name in made}
    moved = {"early": 100, "full": 50, "late": 200} if at == "now" else {}
    assert gained == {name: moved.get(name, 0) for name in made}
    assert done["credits_granted"] == sum(gained.values())


async def newer(studio: Studio, plan: str, at: str, **terms: Any) -> list[dict[str, int]]:
    """Who stays where they are once the plan has a newer version, by why: beforehand, and as it is done."""
    body = {**TEN_DAYS, "grants": [{"amount": 250, **TEN_DAYS}], **terms}
    await studio.client.made(f"/v1/plans/{plan}/variants/ten_days/versions", body)
    asked = [{"at": at, "dry_run": is_dry} for is_dry in (True, False)]
    path = f"/v1/plans/{plan}/variants/ten_days/migrate"
    return [(await studio.client.post(path, each)).json()["staying"] for each in asked]


@pytest.mark.parametrize("at", ["now", "period_end"])
async def test_whose_place_another_takes_is_told_so(studio: Studio, at: str) -> None:
    """Whoever is on the free plan until another subscription begins stays on it, though nothing has changed."""
    free, pro = await studio.free_plan(), await studio.plan("pro", 100)
    await studio.subscribe(free)
    await studio.subscribe(pro, starts_at=(await studio.now() + timedelta(days=5)).isoformat())
    assert await newer(studio, "free", at, billing_mode="postpaid") == [{"replaced": 1}] * 2


async def test_whoever_has_paid_ahead_is_told_so(studio: Studio) -> None:
    """At once they cannot be moved to a version with other periods, when the period ends they can."""
    made = await studio.subscribe(await studio.plan("pro", 100))
    await studio.act(made, "renew", payment_reference="p")
    assert await newer(studio, "pro", "now", interval_count=20) == [{"paid_ahead": 1}] * 2
    assert await newer(studio, "pro", "period_end", interval_count=20) == [{}] * 2


@pytest.mark.parametrize(("action", "stands"), [("pause", "paused"), ("cancel", "canceled")])
async def test_whoever_changes_meanwhile_is_counted_by_where_they_stand(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, action: str, stands: str
) -> None:
    """The state in which they are not moved is told, not the one that was read."""
    made = await studio.subscribe(await studio.plan("pro", 100))
    give = Orders.give

    async def change_before(orders: Orders, environment_id: UUID, end_user_id: str, order: Order) -> CarriedOut:
        if isinstance(order, Act) and order.variant_id is not None:
            await studio.act(made, action, **({"at": "now"} if action == "cancel" else {}))
        return await give(orders, environment_id, end_user_id, order)

    monkeypatch.setattr(Orders, "give", change_before)
    assert await newer(studio, "pro", "now") == [{}, {stands: 1}]
