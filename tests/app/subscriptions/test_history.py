"""What became of a subscription, who did it and why; and finding subscriptions."""

from typing import Any

from app.wire.codes import Code
from tests.app.subscriptions.studio import Studio, later
from tests.app.web.test_problems import assert_problem


def version(variant: str, plan_key: str) -> dict[str, Any]:
    """The first version of a variant."""
    return {"plan_variant_id": variant, "plan_key": plan_key, "variant_key": "ten_days", "version": 1}


async def test_who_did_what_and_why(studio: Studio) -> None:
    """Each change once, without gaps, with what the client said of it; time itself has no reason to tell."""
    pro, mini = await studio.plan("pro", 100), await studio.plan("mini", 50)
    began_at = await studio.now()
    made = await studio.subscribe(pro, reason="signed up")
    await studio.act(made, "change", plan_variant_id=mini, reason="too dear")
    await studio.act(made, "renew", "key-1", payment_reference="pay_1", reason="paid")
    await studio.pass_days(20)
    history = await studio.history(made)
    actor = history[0]["actor"]
    assert actor.startswith("key_")
    told = [
        ("create", None, "active", actor, "signed up", None, None),
        ("schedule_change", "active", "active", actor, "too dear", None, None),
        ("renew", "active", "active", actor, "paid", "pay_1", "key-1"),
        ("change", "active", "active", "flusher", None, None, None),
        ("fall_overdue", "active", "overdue", "flusher", None, None, None),
    ]
    names = ("action", "state_before", "state_after", "actor", "reason", "payment_reference", "idempotency_key")
    assert [tuple(change[name] for name in names) for change in history] == told
    assert [change["number"] for change in history] == [1, 2, 3, 4, 5]
    days = [(later(change["at"]) - began_at).total_seconds() / 86_400 for change in history]
    assert days == [0, 0, 0, 10, 20]


async def test_versions_where_they_differ(studio: Studio) -> None:
    """From which to which: the first of all from none."""
    pro, max_ = await studio.plan("pro", 100), await studio.plan("max", 300)
    made = await studio.subscribe(pro)
    await studio.act(made, "renew")
    await studio.act(made, "change", plan_variant_id=max_, payment_reference="pay_1")
    versions = [(change["version_before"], change["version_after"]) for change in await studio.history(made)]
    assert versions == [(None, version(pro, "pro")), (None, None), (version(pro, "pro"), version(max_, "max"))]


async def test_page_by_page(studio: Studio) -> None:
    """The newest first; other subscriptions have histories of their own."""
    variant = await studio.plan("pro", 100)
    made, other = await studio.subscribe(variant), await studio.subscribe(variant, "v")
    for action in ("pause", "resume", "renew"):
        await studio.act(made, action)
    path = f"/v1/subscriptions/{made['subscription_id']}/history"
    first = await studio.client.read(path, limit=3)
    second = await studio.client.read(path, limit=3, cursor=first["next_cursor"])
    assert [change["number"] for change in first["data"] + second["data"]] == [4, 3, 2, 1]
    assert second["next_cursor"] is None
    assert len(await studio.history(other)) == 1


async def test_by_state(studio: Studio) -> None:
    """Lists are narrowed by state and by customer."""
    variant = await studio.plan("pro", 100)
    made = {name: await studio.subscribe(variant, name) for name in ("a", "b", "c")}
    await studio.act(made["b"], "pause")
    for asked, found in (
        ({"state": "paused"}, {"b"}),
        ({"state": "active"}, {"a", "c"}),
        ({"state": "active", "end_user_id": "a"}, {"a"}),
        ({"state": "active", "end_user_id": "b"}, set[str]()),
        ({}, {"a", "b", "c"}),
    ):
        listed = (await studio.client.read("/v1/subscriptions", **asked))["data"]
        assert {body["end_user_id"] for body in listed} == found
    assert_problem(await studio.client.get("/v1/subscriptions", state="asleep"), Code.INVALID_VALUE, "state")


async def test_what_there_is_not(studio: Studio) -> None:
    """Unknown, mistyped, of another environment: 404 on every route."""
    made = await studio.subscribe(await studio.plan("pro", 100))
    own = made["subscription_id"]
    for client, subscription_id in (
        (studio.client, "sub_" + "0" * 32),
        (studio.client, own.replace("sub", "var")),
        (studio.client, "sub_"),
        (studio.tenant.live, own),
    ):
        path = f"/v1/subscriptions/{subscription_id}"
        for route in ("", "/history"):
            assert_problem(await client.get(path + route), Code.NOT_FOUND)
        for route in ("renew", "pause", "resume", "cancel"):
            assert_problem(await client.post(f"{path}/{route}", {}), Code.NOT_FOUND)
        for route in ("change", "change/preview"):
            asked = {"plan_variant_id": made["plan_variant_id"]}
            assert_problem(await client.post(f"{path}/{route}", asked), Code.NOT_FOUND)
        assert_problem(await client.send("DELETE", f"{path}/scheduled-change"), Code.NOT_FOUND)
    assert len(await studio.history(made)) == 1
