"""Who may ask what."""

import pytest

from app.io.clock import Clock
from app.wire.codes import Code
from app.wire.scopes import Scope
from tests.app.core import SECRETS, Core, Tenant, open_core
from tests.app.schema.catalogue import connected
from tests.app.web.test_problems import assert_problem
from tests.conftest import DatabaseUrls

ROUTES: list[tuple[str, str, set[Scope]]] = [
    ("POST", "/v1/features", {Scope.CATALOG_WRITE}),
    ("GET", "/v1/features", {Scope.CATALOG_WRITE, Scope.ENTITLEMENTS_READ}),
    ("GET", "/v1/features/f", {Scope.CATALOG_WRITE, Scope.ENTITLEMENTS_READ}),
    ("PATCH", "/v1/features/f", {Scope.CATALOG_WRITE}),
    ("POST", "/v1/features/f/prices", {Scope.CATALOG_WRITE}),
    ("GET", "/v1/features/f/prices", {Scope.CATALOG_WRITE, Scope.ENTITLEMENTS_READ}),
    ("POST", "/v1/plans", {Scope.CATALOG_WRITE}),
    ("GET", "/v1/plans", {Scope.CATALOG_WRITE, Scope.ENTITLEMENTS_READ}),
    ("GET", "/v1/plans/p", {Scope.CATALOG_WRITE, Scope.ENTITLEMENTS_READ}),
    ("PATCH", "/v1/plans/p", {Scope.CATALOG_WRITE}),
    ("POST", "/v1/plans/p/variants", {Scope.CATALOG_WRITE}),
    ("GET", "/v1/plans/p/variants", {Scope.CATALOG_WRITE, Scope.ENTITLEMENTS_READ}),
    ("GET", "/v1/plans/p/variants/v", {Scope.CATALOG_WRITE, Scope.ENTITLEMENTS_READ}),
    ("POST", "/v1/plans/p/variants/v/versions", {Scope.CATALOG_WRITE}),
    ("GET", "/v1/plans/p/variants/v/versions", {Scope.CATALOG_WRITE, Scope.ENTITLEMENTS_READ}),
    ("POST", "/v1/plans/p/variants/v/migrate", {Scope.SUBSCRIPTIONS_WRITE}),
    ("GET", "/v1/environment", {Scope.CATALOG_WRITE, Scope.ENTITLEMENTS_READ}),
    ("PATCH", "/v1/environment", {Scope.CATALOG_WRITE}),
    ("GET", "/v1/test-clock", {Scope.CATALOG_WRITE}),
    ("POST", "/v1/test-clock/freeze", {Scope.CATALOG_WRITE}),
    ("POST", "/v1/test-clock/advance", {Scope.CATALOG_WRITE}),
    ("POST", "/v1/test-clock/reset", {Scope.CATALOG_WRITE}),
    ("PUT", "/v1/customers/u/overrides/f", {Scope.SUBSCRIPTIONS_WRITE}),
    ("GET", "/v1/customers/u/overrides/f", {Scope.SUBSCRIPTIONS_WRITE, Scope.ENTITLEMENTS_READ}),
    ("GET", "/v1/customers/u/overrides", {Scope.SUBSCRIPTIONS_WRITE, Scope.ENTITLEMENTS_READ}),
    ("DELETE", "/v1/customers/u/overrides/f", {Scope.SUBSCRIPTIONS_WRITE}),
    ("POST", "/v1/customers", {Scope.SUBSCRIPTIONS_WRITE}),
    ("GET", "/v1/customers", {Scope.SUBSCRIPTIONS_WRITE, Scope.CREDITS_WRITE, Scope.ENTITLEMENTS_READ}),
    ("GET", "/v1/customers/u", {Scope.SUBSCRIPTIONS_WRITE, Scope.CREDITS_WRITE, Scope.ENTITLEMENTS_READ}),
    ("POST", "/v1/subscriptions", {Scope.SUBSCRIPTIONS_WRITE}),
    ("GET", "/v1/subscriptions", {Scope.SUBSCRIPTIONS_WRITE, Scope.ENTITLEMENTS_READ}),
    ("GET", "/v1/subscriptions/s", {Scope.SUBSCRIPTIONS_WRITE, Scope.ENTITLEMENTS_READ}),
    ("POST", "/v1/subscriptions/s/renew", {Scope.SUBSCRIPTIONS_WRITE}),
    ("POST", "/v1/subscriptions/s/change", {Scope.SUBSCRIPTIONS_WRITE}),
    ("POST", "/v1/subscriptions/s/change/preview", {Scope.SUBSCRIPTIONS_WRITE, Scope.ENTITLEMENTS_READ}),
    ("POST", "/v1/subscriptions/s/pause", {Scope.SUBSCRIPTIONS_WRITE}),
    ("POST", "/v1/subscriptions/s/resume", {Scope.SUBSCRIPTIONS_WRITE}),
    ("POST", "/v1/subscriptions/s/cancel", {Scope.SUBSCRIPTIONS_WRITE}),
    ("DELETE", "/v1/subscriptions/s/scheduled-change", {Scope.SUBSCRIPTIONS_WRITE}),
    ("GET", "/v1/subscriptions/s/history", {Scope.SUBSCRIPTIONS_WRITE, Scope.ENTITLEMENTS_READ}),
    ("POST", "/v1/credits/grants", {Scope.CREDITS_WRITE}),
    ("POST", "/v1/credits/voids", {Scope.CREDITS_WRITE}),
    ("POST", "/v1/credits/overage-billings", {Scope.CREDITS_WRITE}),
    ("POST", "/v1/usage/events/{event_id}/void", {Scope.CREDITS_WRITE}),
    ("POST", "/v1/credits/adjustments", {Scope.CREDITS_WRITE}),
    ("GET", "/v1/customers/u/credits/explain", {Scope.CREDITS_WRITE, Scope.ENTITLEMENTS_READ}),
    ("GET", "/v1/customers/u/balance", {Scope.CREDITS_WRITE, Scope.ENTITLEMENTS_READ}),
    ("GET", "/v1/customers/u/reservations", {Scope.CREDITS_WRITE, Scope.ENTITLEMENTS_READ}),
    ("POST", "/v1/topup-packages", {Scope.CATALOG_WRITE}),
    ("GET", "/v1/topup-packages", {Scope.CATALOG_WRITE, Scope.CREDITS_WRITE, Scope.ENTITLEMENTS_READ}),
    ("GET", "/v1/topup-packages/p", {Scope.CATALOG_WRITE, Scope.CREDITS_WRITE, Scope.ENTITLEMENTS_READ}),
    ("PATCH", "/v1/topup-packages/p", {Scope.CATALOG_WRITE}),
    ("POST", "/v1/topups", {Scope.CREDITS_WRITE}),
    ("GET", "/v1/topups", {Scope.CREDITS_WRITE, Scope.ENTITLEMENTS_READ}),
    ("GET", "/v1/customers/u/credits", {Scope.CREDITS_WRITE, Scope.ENTITLEMENTS_READ}),
    ("GET", "/v1/customers/u/ledger", {Scope.CREDITS_WRITE, Scope.ENTITLEMENTS_READ}),
    ("GET", "/v1/usage", {Scope.USAGE_WRITE, Scope.ENTITLEMENTS_READ}),
    ("GET", "/v1/usage/events", {Scope.USAGE_WRITE, Scope.ENTITLEMENTS_READ}),
    ("GET", "/v1/usage/events/e", {Scope.USAGE_WRITE, Scope.ENTITLEMENTS_READ}),
    ("GET", "/v1/usage/rejected", {Scope.USAGE_WRITE, Scope.ENTITLEMENTS_READ}),
    ("POST", "/v1/usage/rejected/e/retry", {Scope.USAGE_WRITE}),
    ("POST", "/v1/api-keys", {Scope.KEYS_WRITE}),
    ("GET", "/v1/api-keys", {Scope.KEYS_WRITE}),
    ("GET", "/v1/api-keys/k", {Scope.KEYS_WRITE}),
    ("PATCH", "/v1/api-keys/k", {Scope.KEYS_WRITE}),
    ("DELETE", "/v1/api-keys/k", {Scope.KEYS_WRITE}),
    ("POST", "/v1/api-keys/k/rotate", {Scope.KEYS_WRITE}),
    ("GET", "/v1/audit-log", {Scope.ADMIN}),
    ("POST", "/v1/webhook-endpoints", {Scope.WEBHOOKS_WRITE}),
    ("GET", "/v1/webhook-endpoints", {Scope.WEBHOOKS_WRITE}),
    ("GET", "/v1/webhook-endpoints/w", {Scope.WEBHOOKS_WRITE}),
    ("PATCH", "/v1/webhook-endpoints/w", {Scope.WEBHOOKS_WRITE}),
    ("DELETE", "/v1/webhook-endpoints/w", {Scope.WEBHOOKS_WRITE}),
    ("POST", "/v1/webhook-endpoints/w/rotate-secret", {Scope.WEBHOOKS_WRITE}),
    ("POST", "/v1/webhook-endpoints/w/test", {Scope.WEBHOOKS_WRITE}),
    ("GET", "/v1/webhook-deliveries", {Scope.WEBHOOKS_WRITE}),
    ("POST", "/v1/webhook-deliveries/d/retry", {Scope.WEBHOOKS_WRITE}),
    ("POST", "/v1/webhook-deliveries/replay", {Scope.WEBHOOKS_WRITE}),
    ("GET", "/v1/events", {Scope.WEBHOOKS_WRITE, Scope.ENTITLEMENTS_READ}),
]


async def set_scopes(urls: DatabaseUrls, tenant: Tenant, *scopes: Scope) -> None:
    """Give the tenant's sandbox key these scopes and no others."""
    async with connected(urls.owner) as connection:
        statement = "UPDATE api_keys SET scopes = $1 WHERE environment_id = $2"
        await connection.execute(statement, list(scopes), tenant.environment_id)


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
async def test_a_key_comes_in_either_header(tenant: Tenant, header: str) -> None:
    """As a bearer token, or by itself."""
    value = tenant.sandbox.key if header == "x-api-key" else f"bearer {tenant.sandbox.key}"
    assert (await tenant.sandbox.http.get("/v1/features", headers={header: value})).status_code == 200


async def test_whatever_is_no_key_is_401(core: Core, tenant: Tenant) -> None:
    """Missing, mistyped, unknown, of the operator: all the same, and before anything of the body is looked at."""
    key = tenant.sandbox.key
    other = "0" if key[20] != "0" else "1"
    wrong = ["", "x", key[:-1], key[:20] + other + key[21:], key.replace("test", "live"), SECRETS["admin_token"], "é"]
    for text in wrong:
        for method, path in (("GET", "/v1/features"), ("POST", "/v1/features")):
            headers = {b"authorization": f"Bearer {text}".encode()}
            answer = await core.operator.http.request(method, path, headers=headers, content=b"{")
            assert_problem(answer, Code.UNAUTHENTICATED)
            assert answer.headers["www-authenticate"].startswith("Bearer")
    assert_problem(await core.operator.http.get("/v1/features"), Code.UNAUTHENTICATED)


async def test_each_route_asks_for_its_scope(urls: DatabaseUrls, tenant: Tenant) -> None:
    """A key without it gets 403, with it (or with admin) something else; a key without scopes may nothing."""
    for scope in (None, *Scope):
        await set_scopes(urls, tenant, *([] if scope is None else [scope]))
        for method, path, needed in ROUTES:
            answer = await tenant.sandbox.send(method, path)
            is_refused = scope is not Scope.ADMIN and scope not in needed
            assert (answer.status_code == 403) == is_refused, (scope, method, path, answer.text)
            if is_refused:
                assert_problem(answer, Code.MISSING_SCOPE)


async def test_every_route_is_in_that_table(core: Core) -> None:
    """So that a new one is thought about."""
    document = (await core.operator.get("/schema")).json()
    found = {
        (method.upper(), path)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if "Hot" not in operation["tags"] and "Tenants" not in operation["tags"]
    }
    assert len(found) == len(ROUTES)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("expires_at = now() + interval '1 hour'", "expires_at = now() - interval '1 second'"),
        ("expires_at = NULL", "revoked_at = now()"),
    ],
)
async def test_revoked_and_expired_keys(urls: DatabaseUrls, tenant: Tenant, core: Core, good: str, bad: str) -> None:
    """They are like unknown ones from that moment on."""
    async with connected(urls.owner) as connection:
        for change, status in ((good, 200), (bad, 401)):
            await connection.execute(f"UPDATE api_keys SET {change}")  # noqa: S608 - from above
            assert (await tenant.sandbox.get("/v1/features")).status_code == status
    assert core


async def test_environments_do_not_see_each_other(core: Core, tenant: Tenant) -> None:
    """Neither sandbox and live, nor one tenant and another, by any route."""
    stranger = await core.tenant("stranger")
    await tenant.sandbox.made("/v1/features", {"key": "f", "name": "F"})
    await tenant.sandbox.made("/v1/customers", {"end_user_id": "u"})
    for client in (tenant.live, stranger.sandbox, stranger.live):
        assert (await client.get("/v1/features/f")).status_code == 404
        assert (await client.get("/v1/customers/u")).status_code == 404
        assert (await client.get("/v1/customers/u/credits")).status_code == 404
        assert (await client.read("/v1/features"))["data"] == []
        assert (await client.read("/v1/customers"))["data"] == []


async def test_the_operators_token(core: Core, tenant: Tenant) -> None:
    """Makes tenants; an API key does not, and neither does the token of the internal listener."""
    for client in (tenant.sandbox, core.client(SECRETS["internal_secret"]), core.client("")):
        assert_problem(await client.post("/v1/tenants", {"name": "x"}), Code.UNAUTHENTICATED)


async def test_a_key_of_another_pepper_is_void(urls: DatabaseUrls, tenant: Tenant, core: Core) -> None:
    """What is stored is of no use without the pepper."""
    async with open_core(urls, core.parts.settings.redis_url, Clock(), key_pepper="p" * 32) as other:
        assert_problem(await other.client(tenant.sandbox.key).get("/v1/features"), Code.UNAUTHENTICATED)
