"""Of each route that changes something: a request that does, with what it needs before, and another one of its kind."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from app.io.postgres import Database
from app.jobs.relay import Relay
from app.wire import keys
from app.wire.events import UsagePayload, encode_usage
from app.wire.ids import derived_id, parse, show
from tests.app.subscriptions.studio import Studio
from tests.waiting import wait_until_async

WAIT_SECONDS = 20.0
NOBODY = UUID(int=0)


class Call(NamedTuple):
    """A request, and what makes another one of it under the same key."""

    path: str
    body: dict[str, Any] | None = None
    other_body: dict[str, Any] | None = None
    """Members that differ in the other request; None = its path does."""
    other_path: str | None = None
    mismatch: str = ""
    """The parameter of the path that differs."""
    event_id: str | None = None
    """What is posted some time after the answer."""


class Example(NamedTuple):
    """How the request of a route is prepared in a new environment, and what it is answered."""

    prepare: Callable[[Studio], Awaitable[Call]]
    status: int = 201
    secrets: tuple[str, ...] = ()
    """Members of the answer that are shown once; a dot leads into one."""
    rows: int = 1
    """Of the audit log: one for each subject that it changes, in each environment."""
    is_of_operator: bool = False
    stands_alone: bool = False
    """There is no other request under its key: its route says it all."""


async def _feature(studio: Studio, key: str = "f") -> None:
    await studio.client.made("/v1/features", {"key": key, "name": "F"})


async def _customer(studio: Studio) -> None:
    await studio.client.made("/v1/customers", {"end_user_id": "u"})


async def _plan(studio: Studio) -> None:
    await studio.client.made("/v1/plans", {"key": "p", "name": "P"})


async def _subscription(studio: Studio) -> str:
    """The path of a subscription."""
    await studio.open()
    made = await studio.subscribe(await studio.plan("pro", 100))
    return f"/v1/subscriptions/{made['subscription_id']}"


# ---- catalogue


async def _make_tenant(_: Studio) -> Call:
    return Call("/v1/tenants", {"name": "Acme"}, {"name": "Other"})


async def _change_environment(_: Studio) -> Call:
    return Call("/v1/environment", {"thresholds": [{"credits": 5}]}, {"thresholds": [{"credits": 6}]})


async def _make_feature(_: Studio) -> Call:
    return Call("/v1/features", {"key": "f", "name": "F"}, {"name": "G"})


async def _change_feature(studio: Studio) -> Call:
    await _feature(studio)
    return Call("/v1/features/f", {"name": "G"}, {"name": "H"})


async def _price_feature(studio: Studio) -> Call:
    await _feature(studio)
    return Call("/v1/features/f/prices", {"kind": "flat", "amount": 1}, {"amount": 2})


async def _make_plan(_: Studio) -> Call:
    return Call("/v1/plans", {"key": "p", "name": "P"}, {"name": "Q"})


async def _change_plan(studio: Studio) -> Call:
    await _plan(studio)
    return Call("/v1/plans/p", {"name": "Q"}, {"name": "R"})


async def _make_variant(studio: Studio) -> Call:
    await _plan(studio)
    return Call("/v1/plans/p/variants", {"key": "v", "interval": "month"}, {"interval": "year"})


async def _publish_version(studio: Studio) -> Call:
    await _plan(studio)
    await studio.client.made("/v1/plans/p/variants", {"key": "v", "interval": "month"})
    return Call("/v1/plans/p/variants/v/versions", {"interval": "week"}, {"interval": "year"})


async def _make_package(_: Studio) -> Call:
    sold = {"key": "k", "name": "K", "credits": 10, "price_paid": 999, "currency": "EUR"}
    return Call("/v1/topup-packages", sold, {"credits": 11})


async def _change_package(studio: Studio) -> Call:
    package = await _make_package(studio)
    await studio.client.made(package.path, package.body)
    return Call("/v1/topup-packages/k", {"active": False}, {"active": True})


# ---- customers and their credit


async def _make_customer(_: Studio) -> Call:
    return Call("/v1/customers", {"end_user_id": "u"}, {"end_user_id": "v"})


async def _set_override(studio: Studio) -> Call:
    await _customer(studio)
    await _feature(studio)
    return Call("/v1/customers/u/overrides/f", {"included": True}, {"included": False})


async def _remove_override(studio: Studio) -> Call:
    made = await _set_override(studio)
    assert (await studio.client.send("PUT", made.path, json=made.body)).status_code == 200
    return Call(made.path, other_path="/v1/customers/u/overrides/g", mismatch="path.feature_key")


async def _grant(studio: Studio) -> Call:
    await _customer(studio)
    return Call("/v1/credits/grants", {"end_user_id": "u", "amount": 10}, {"amount": 11})


async def _adjust(studio: Studio) -> Call:
    await _customer(studio)
    taken = {"end_user_id": "u", "amount": -10, "reason": "r", "allow_debt": True}
    return Call("/v1/credits/adjustments", taken, {"amount": -11})


async def _bill_overage(studio: Studio) -> Call:
    await _customer(studio)
    await studio.owe(10)
    return Call("/v1/credits/overage-billings", {"end_user_id": "u", "reason": "r"}, {"reason": "s"})


async def _top_up(studio: Studio) -> Call:
    await _customer(studio)
    bought = {"end_user_id": "u", "credits": 10, "price_paid": 1, "currency": "EUR", "payment_reference": "pay"}
    return Call("/v1/topups", bought, {"credits": 11})


async def _void_grant(studio: Studio) -> Call:
    granted = await _grant(studio)
    made = await studio.client.made(granted.path, granted.body)
    asked = {"credit_block_id": made["credit_block_id"], "reason": "r"}
    return Call("/v1/credits/voids", asked, {"reason": "s"})


async def _void_event(studio: Studio) -> Call:
    await _customer(studio)
    event_id = await _use(studio, "u")
    await wait_for_event(studio, event_id, "posted")
    return Call(f"/v1/usage/events/{event_id}/void", {"reason": "r"}, {"reason": "s"})


async def _retry_rejected(studio: Studio) -> Call:
    event_id = await _use(studio, "u")
    await wait_for_event(studio, event_id, "rejected")
    await _customer(studio)
    path = f"/v1/usage/rejected/{show('evt', NOBODY)}/retry"
    retry = f"/v1/usage/rejected/{event_id}/retry"
    return Call(retry, other_path=path, mismatch="path.event_id", event_id=event_id)


async def _use(studio: Studio, end_user_id: str) -> str:
    """Have the stream hold a usage event of somebody, whom the ledger may not have; its id."""
    made = await studio.client.made("/v1/features", {"key": "f", "name": "F", "price": {"kind": "flat", "amount": 1}})
    ref = keys.account_ref(keys.environment_ref(studio.tenant.environment_id), end_user_id)
    event_id, at = derived_id(ref, b"k"), int(datetime.now(UTC).timestamp()) * 1_000_000
    payload = UsagePayload(event_id, "f", 1_000_000, parse("price", made["price_id"]), None, "k", None)
    fields: dict[Any, Any] = {"a": ref, "k": "u", "t": at, "r": 9, "c": 1_000_000, "p": encode_usage(payload)}
    redis = studio.core.parts.redis
    await redis.client.xadd(keys.stream(redis.partition(ref)), fields)
    return show("evt", event_id)


async def wait_for_event(studio: Studio, event_id: str, status: str) -> None:
    """Until the ledger has made up its mind about it."""

    async def has_come() -> bool:
        answer = await studio.client.get(f"/v1/usage/events/{event_id}")
        return answer.status_code == 200 and answer.json()["status"] == status

    await wait_until_async(has_come, WAIT_SECONDS, f"the event to be {status}")


# ---- subscriptions


async def _subscribe(studio: Studio) -> Call:
    await studio.open()
    variant = await studio.plan("pro", 100)
    return Call("/v1/subscriptions", {"end_user_id": "u", "plan_variant_id": variant}, {"reason": "r"})


async def _renew(studio: Studio) -> Call:
    return Call(f"{await _subscription(studio)}/renew", {}, {"reason": "r"})


async def _change(studio: Studio) -> Call:
    path = await _subscription(studio)
    return Call(f"{path}/change", {"plan_variant_id": await studio.plan("more", 200)}, {"reason": "r"})


async def _pause(studio: Studio) -> Call:
    return Call(f"{await _subscription(studio)}/pause", {}, {"reason": "r"})


async def _resume(studio: Studio) -> Call:
    path = await _subscription(studio)
    assert (await studio.client.post(f"{path}/pause", {})).status_code == 200
    return Call(f"{path}/resume", {}, {"reason": "r"})


async def _cancel(studio: Studio) -> Call:
    return Call(f"{await _subscription(studio)}/cancel", {"at": "now"}, {"reason": "r"})


async def _unschedule(studio: Studio) -> Call:
    path = await _subscription(studio)
    assert (await studio.client.post(f"{path}/cancel", {"at": "period_end"})).status_code == 200
    other = f"/v1/subscriptions/{show('sub', NOBODY)}/scheduled-change"
    return Call(f"{path}/scheduled-change", other_path=other, mismatch="path.subscription_id")


async def _migrate(studio: Studio) -> Call:
    await _subscription(studio)
    terms = {"interval": "day", "interval_count": 10, "grants": [{"amount": 200, "interval": "day"}]}
    await studio.client.made("/v1/plans/pro/variants/ten_days/versions", terms)
    return Call("/v1/plans/pro/variants/ten_days/migrate", {}, {"reason": "r"})


# ---- clocks and keys


async def _freeze(_: Studio) -> Call:
    return Call("/v1/test-clock/freeze", {}, {"at": "2100-01-01T00:00:00Z"})


async def _advance(studio: Studio) -> Call:
    assert (await studio.client.post("/v1/test-clock/freeze", {})).status_code == 200
    return Call("/v1/test-clock/advance", {"by_seconds": 60}, {"by_seconds": 61})


async def _reset(studio: Studio) -> Call:
    assert (await studio.client.post("/v1/test-clock/freeze", {})).status_code == 200
    return Call("/v1/test-clock/reset", {})


async def _make_key(_: Studio) -> Call:
    return Call("/v1/api-keys", {"name": "n", "scopes": ["usage:write"]}, {"name": "m"})


async def _key(studio: Studio) -> str:
    made = await _make_key(studio)
    return f"/v1/api-keys/{(await studio.client.made(made.path, made.body))['api_key_id']}"


async def _rename_key(studio: Studio) -> Call:
    return Call(await _key(studio), {"name": "m"}, {"name": "o"})


async def _revoke_key(studio: Studio) -> Call:
    other = f"/v1/api-keys/{show('key', NOBODY)}"
    return Call(await _key(studio), other_path=other, mismatch="path.api_key_id")


async def _rotate_key(studio: Studio) -> Call:
    return Call(f"{await _key(studio)}/rotate", {}, {"overlap_seconds": 60})


# ---- webhooks


async def _make_endpoint(_: Studio) -> Call:
    return Call("/v1/webhook-endpoints", {"url": "https://shop.test/hooks"}, {"description": "d"})


async def _endpoint(studio: Studio) -> str:
    """The path of an endpoint."""
    endpoint = await _make_endpoint(studio)
    made = await studio.client.made(endpoint.path, endpoint.body)
    return f"{endpoint.path}/{made['webhook_endpoint_id']}"


def _without_body(path: str) -> Call:
    """A call that says all in its path, which names an endpoint; the other one names one that there is not."""
    made, _, _ = path.removeprefix("/v1/webhook-endpoints/").partition("/")
    return Call(path, other_path=path.replace(made, show("whe", NOBODY)), mismatch="path.webhook_endpoint_id")


async def _change_endpoint(studio: Studio) -> Call:
    return Call(await _endpoint(studio), {"description": "d"}, {"description": "e"})


async def _delete_endpoint(studio: Studio) -> Call:
    return _without_body(await _endpoint(studio))


async def _rotate_secret(studio: Studio) -> Call:
    return Call(f"{await _endpoint(studio)}/rotate-secret", {}, {"overlap_seconds": 60})


async def _test_endpoint(studio: Studio) -> Call:
    return _without_body(f"{await _endpoint(studio)}/test")


async def _retry_delivery(studio: Studio) -> Call:
    await _endpoint(studio)
    await _customer(studio)  # of which the endpoint hears
    jobs = await Database.open(studio.urls.of("quotastack_jobs"), "test", 1)
    while await Relay(jobs, studio.core.parts.clock).round(datetime.now(UTC)):
        pass
    await jobs.close()
    [delivery] = (await studio.client.read("/v1/webhook-deliveries"))["data"]
    other = f"/v1/webhook-deliveries/{show('whd', NOBODY)}/retry"
    path = f"/v1/webhook-deliveries/{delivery['webhook_delivery_id']}/retry"
    return Call(path, other_path=other, mismatch="path.webhook_delivery_id")


async def _replay_deliveries(studio: Studio) -> Call:
    endpoint_id = (await _endpoint(studio)).rpartition("/")[2]
    asked = {"webhook_endpoint_id": endpoint_id, "from": datetime.now(UTC).isoformat()}
    return Call("/v1/webhook-deliveries/replay", asked, {"event_types": ["customer.created"]})


_SUBSCRIPTION = "/v1/subscriptions/{subscription_id}"
_ENDPOINT = "/v1/webhook-endpoints/{webhook_endpoint_id}"
EXAMPLES: dict[str, Example] = {
    "POST /v1/tenants": Example(_make_tenant, secrets=("sandbox_key", "live_key"), rows=2, is_of_operator=True),
    "PATCH /v1/environment": Example(_change_environment, 200),
    "POST /v1/features": Example(_make_feature),
    "PATCH /v1/features/{key}": Example(_change_feature, 200),
    "POST /v1/features/{key}/prices": Example(_price_feature),
    "POST /v1/plans": Example(_make_plan),
    "PATCH /v1/plans/{key}": Example(_change_plan, 200),
    "POST /v1/plans/{key}/variants": Example(_make_variant),
    "POST /v1/plans/{key}/variants/{variant_key}/versions": Example(_publish_version),
    "POST /v1/plans/{plan_key}/variants/{variant_key}/migrate": Example(_migrate, 200),
    "POST /v1/customers": Example(_make_customer),
    "PUT /v1/customers/{end_user_id}/overrides/{feature_key}": Example(_set_override, 200),
    "DELETE /v1/customers/{end_user_id}/overrides/{feature_key}": Example(_remove_override, 200),
    "POST /v1/subscriptions": Example(_subscribe),
    f"POST {_SUBSCRIPTION}/renew": Example(_renew, 200),
    f"POST {_SUBSCRIPTION}/change": Example(_change, 200),
    f"POST {_SUBSCRIPTION}/pause": Example(_pause, 200),
    f"POST {_SUBSCRIPTION}/resume": Example(_resume, 200),
    f"POST {_SUBSCRIPTION}/cancel": Example(_cancel, 200),
    f"DELETE {_SUBSCRIPTION}/scheduled-change": Example(_unschedule, 200),
    "POST /v1/credits/grants": Example(_grant),
    "POST /v1/credits/adjustments": Example(_adjust),
    "POST /v1/credits/overage-billings": Example(_bill_overage),
    "POST /v1/credits/voids": Example(_void_grant),
    "POST /v1/usage/events/{event_id}/void": Example(_void_event),
    "POST /v1/usage/rejected/{event_id}/retry": Example(_retry_rejected, 202),
    "POST /v1/topup-packages": Example(_make_package),
    "PATCH /v1/topup-packages/{key}": Example(_change_package, 200),
    "POST /v1/topups": Example(_top_up),
    "POST /v1/test-clock/freeze": Example(_freeze, 200),
    "POST /v1/test-clock/advance": Example(_advance, 200),
    "POST /v1/test-clock/reset": Example(_reset, 200, stands_alone=True),
    "POST /v1/api-keys": Example(_make_key, secrets=("key",)),
    "PATCH /v1/api-keys/{api_key_id}": Example(_rename_key, 200),
    "DELETE /v1/api-keys/{api_key_id}": Example(_revoke_key, 200),
    "POST /v1/api-keys/{api_key_id}/rotate": Example(_rotate_key, secrets=("api_key.key",), rows=2),
    "POST /v1/webhook-endpoints": Example(_make_endpoint, secrets=("secret",)),
    f"PATCH {_ENDPOINT}": Example(_change_endpoint, 200),
    f"DELETE {_ENDPOINT}": Example(_delete_endpoint, 200),
    f"POST {_ENDPOINT}/rotate-secret": Example(_rotate_secret, 200, secrets=("secret",)),
    f"POST {_ENDPOINT}/test": Example(_test_endpoint, 202),
    "POST /v1/webhook-deliveries/{webhook_delivery_id}/retry": Example(_retry_delivery, 202),
    "POST /v1/webhook-deliveries/replay": Example(_replay_deliveries, 202),
}
"""By method and path, as the audit log names routes."""
