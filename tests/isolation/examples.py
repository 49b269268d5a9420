"""An example of every route that takes an API key: what is asked, with the names in it that belong to somebody.

`<name>` stands for one of the names of a shop (tests/isolation/shop.py). A route without an example fails the walk.
"""

from typing import NamedTuple


class Example(NamedTuple):
    """A request; `route` is its path as the OpenAPI document has it."""

    method: str
    route: str
    target: str
    """Path and query."""
    body: str | None = None
    content_type: str = "application/json"

    @property
    def only_reads(self) -> bool:
        """Whether nothing is changed by it."""
        return (
            self.method == "GET"
            or self.route.endswith(("/check", "/preview"))
            or '"dry_run": true' in (self.body or "")
        )


CATALOGUE = [
    Example("GET", "/v1/environment", "/v1/environment"),
    Example("PATCH", "/v1/environment", "/v1/environment", '{"free_plan_variant_id": "<plan_variant_id>"}'),
    Example("GET", "/v1/features", "/v1/features?limit=1&cursor=<features_cursor>"),
    Example("POST", "/v1/features", "/v1/features", '{"key": "<feature_key>", "name": "F"}'),
    Example(
        "POST",
        "/v1/features",
        "/v1/features",
        '{"key": "<new_key>", "name": "F", "event_type": "<event_type>.of.mine"}',
    ),
    Example("GET", "/v1/features/{key}", "/v1/features/<feature_key>"),
    Example("PATCH", "/v1/features/{key}", "/v1/features/<feature_key>", '{"name": "Changed"}'),
    Example("GET", "/v1/features/{key}/prices", "/v1/features/<feature_key>/prices?limit=1&cursor=<prices_cursor>"),
    Example("POST", "/v1/features/{key}/prices", "/v1/features/<feature_key>/prices", '{"kind": "flat", "amount": 2}'),
    Example("GET", "/v1/plans", "/v1/plans?limit=1&cursor=<plans_cursor>"),
    Example("POST", "/v1/plans", "/v1/plans", '{"key": "<plan_key>", "name": "P"}'),
    Example("GET", "/v1/plans/{key}", "/v1/plans/<plan_key>"),
    Example("PATCH", "/v1/plans/{key}", "/v1/plans/<plan_key>", '{"name": "Changed"}'),
    Example("GET", "/v1/plans/{key}/variants", "/v1/plans/<plan_key>/variants?limit=1&cursor=<variants_cursor>"),
    Example(
        "POST",
        "/v1/plans/{key}/variants",
        "/v1/plans/<plan_key>/variants",
        '{"key": "<new_key>", "interval": "month", "features": [{"feature_key": "<feature_key>"}]}',
    ),
    Example("GET", "/v1/plans/{key}/variants/{variant_key}", "/v1/plans/<plan_key>/variants/<variant_key>"),
    Example(
        "GET",
        "/v1/plans/{key}/variants/{variant_key}/versions",
        "/v1/plans/<plan_key>/variants/<variant_key>/versions?limit=1&cursor=<versions_cursor>",
    ),
    Example(
        "POST",
        "/v1/plans/{key}/variants/{variant_key}/versions",
        "/v1/plans/<plan_key>/variants/<variant_key>/versions",
        '{"interval": "month", "features": [{"feature_key": "<feature_key>"}]}',
    ),
    Example(
        "POST",
        "/v1/plans/{plan_key}/variants/{variant_key}/migrate",
        "/v1/plans/<plan_key>/variants/<variant_key>/migrate",
        '{"dry_run": true, "limit": 1, "cursor": "<migrate_cursor>"}',
    ),
    Example("GET", "/v1/topup-packages", "/v1/topup-packages?limit=1&cursor=<packages_cursor>"),
    Example(
        "POST",
        "/v1/topup-packages",
        "/v1/topup-packages",
        '{"key": "<package_key>", "name": "T", "credits": 1, "price_paid": 1, "currency": "EUR"}',
    ),
    Example("GET", "/v1/topup-packages/{key}", "/v1/topup-packages/<package_key>"),
    Example("PATCH", "/v1/topup-packages/{key}", "/v1/topup-packages/<package_key>", '{"active": true}'),
    Example("GET", "/v1/test-clock", "/v1/test-clock"),
    Example("POST", "/v1/test-clock/freeze", "/v1/test-clock/freeze", '{"at": "2001-01-01T00:00:00Z"}'),
    Example("POST", "/v1/test-clock/advance", "/v1/test-clock/advance", '{"by_seconds": 1}'),
    Example("POST", "/v1/test-clock/reset", "/v1/test-clock/reset", "{}"),
]
CUSTOMERS = [
    Example("GET", "/v1/customers", "/v1/customers?limit=1&cursor=<customers_cursor>"),
    Example("POST", "/v1/customers", "/v1/customers", '{"end_user_id": "<end_user_id>"}'),
    Example("GET", "/v1/customers/{end_user_id}", "/v1/customers/<end_user_id>"),
    Example("GET", "/v1/customers/{end_user_id}/credits", "/v1/customers/<end_user_id>/credits"),
    Example(
        "GET", "/v1/customers/{end_user_id}/credits/explain", "/v1/customers/<end_user_id>/credits/explain?amount=1"
    ),
    Example(
        "GET", "/v1/customers/{end_user_id}/balance", "/v1/customers/<end_user_id>/balance?at=2001-01-01T00:00:00Z"
    ),
    Example(
        "GET",
        "/v1/customers/{end_user_id}/ledger",
        "/v1/customers/<end_user_id>/ledger?limit=1&cursor=<ledger_cursor>",
    ),
    Example(
        "GET",
        "/v1/customers/{end_user_id}/reservations",
        "/v1/customers/<end_user_id>/reservations?limit=1&cursor=<reservations_cursor>",
    ),
    Example(
        "GET",
        "/v1/customers/{end_user_id}/overrides",
        "/v1/customers/<end_user_id>/overrides?limit=1&cursor=<overrides_cursor>",
    ),
    Example(
        "GET",
        "/v1/customers/{end_user_id}/overrides/{feature_key}",
        "/v1/customers/<end_user_id>/overrides/<feature_key>",
    ),
    Example(
        "PUT",
        "/v1/customers/{end_user_id}/overrides/{feature_key}",
        "/v1/customers/<end_user_id>/overrides/<feature_key>",
        '{"limit": 9}',
    ),
    Example(
        "DELETE",
        "/v1/customers/{end_user_id}/overrides/{feature_key}",
        "/v1/customers/<end_user_id>/overrides/<feature_key>",
    ),
]
MONEY = [
    Example("POST", "/v1/credits/grants", "/v1/credits/grants", '{"end_user_id": "<end_user_id>", "amount": 5}'),
    Example(
        "POST",
        "/v1/credits/adjustments",
        "/v1/credits/adjustments",
        '{"end_user_id": "<end_user_id>", "amount": 1, "reason": "r"}',
    ),
    Example(
        "POST",
        "/v1/credits/overage-billings",
        "/v1/credits/overage-billings",
        '{"end_user_id": "<end_user_id>", "reason": "r"}',
    ),
    Example(
        "POST", "/v1/credits/voids", "/v1/credits/voids", '{"event_id": "<event_id>", "reason": "r", "dry_run": true}'
    ),
    Example(
        "POST", "/v1/credits/voids", "/v1/credits/voids", '{"credit_block_id": "<credit_block_id>", "reason": "r"}'
    ),
    Example("GET", "/v1/topups", "/v1/topups?end_user_id=<end_user_id>&limit=1&cursor=<topups_cursor>"),
    Example(
        "POST",
        "/v1/topups",
        "/v1/topups",
        '{"end_user_id": "<end_user_id>", "package_key": "<package_key>", "payment_reference": "<new_reference>"}',
    ),
    Example(
        "POST",
        "/v1/topups",
        "/v1/topups",
        '{"end_user_id": "<end_user_id>", "credits": 1, "price_paid": 1, "currency": "EUR",'
        ' "payment_reference": "<payment_reference>"}',
    ),
]
SUBSCRIPTIONS = [
    Example("GET", "/v1/subscriptions", "/v1/subscriptions?limit=1&cursor=<subscriptions_cursor>"),
    Example(
        "POST",
        "/v1/subscriptions",
        "/v1/subscriptions",
        '{"end_user_id": "<end_user_id>", "plan_variant_id": "<plan_variant_id>"}',
    ),
    Example("GET", "/v1/subscriptions", "/v1/subscriptions?end_user_id=<end_user_id>"),
    Example("GET", "/v1/subscriptions/{subscription_id}", "/v1/subscriptions/<subscription_id>"),
    Example(
        "GET",
        "/v1/subscriptions/{subscription_id}/history",
        "/v1/subscriptions/<subscription_id>/history?limit=1&cursor=<history_cursor>",
    ),
    Example(
        "POST",
        "/v1/subscriptions/{subscription_id}/renew",
        "/v1/subscriptions/<subscription_id>/renew",
        '{"payment_reference": "<payment_reference>"}',
    ),
    Example(
        "POST",
        "/v1/subscriptions/{subscription_id}/change/preview",
        "/v1/subscriptions/<subscription_id>/change/preview",
        '{"plan_variant_id": "<other_variant_id>"}',
    ),
    Example(
        "POST",
        "/v1/subscriptions/{subscription_id}/change",
        "/v1/subscriptions/<subscription_id>/change",
        '{"plan_variant_id": "<other_variant_id>", "at": "period_end"}',
    ),
    Example(
        "DELETE",
        "/v1/subscriptions/{subscription_id}/scheduled-change",
        "/v1/subscriptions/<subscription_id>/scheduled-change",
    ),
    Example("POST", "/v1/subscriptions/{subscription_id}/pause", "/v1/subscriptions/<subscription_id>/pause", "{}"),
    Example("POST", "/v1/subscriptions/{subscription_id}/resume", "/v1/subscriptions/<subscription_id>/resume", "{}"),
    Example(
        "POST",
        "/v1/subscriptions/{subscription_id}/cancel",
        "/v1/subscriptions/<subscription_id>/cancel",
        '{"at": "period_end"}',
    ),
]
USAGE = [
    Example(
        "GET",
        "/v1/usage",
        "/v1/usage?end_user_id=<end_user_id>&limit=1&cursor=<usage_cursor>",
    ),
    Example("GET", "/v1/usage", "/v1/usage?feature_key=<feature_key>&limit=1"),
    Example(
        "GET",
        "/v1/usage/events",
        "/v1/usage/events?end_user_id=<end_user_id>&feature_key=<feature_key>&limit=1&cursor=<events_cursor>",
    ),
    Example("GET", "/v1/usage/events/{event_id}", "/v1/usage/events/<event_id>"),
    Example(
        "POST",
        "/v1/usage/events/{event_id}/void",
        "/v1/usage/events/<event_id>/void",
        '{"reason": "r", "dry_run": true}',
    ),
    Example(
        "GET", "/v1/usage/rejected", "/v1/usage/rejected?end_user_id=<end_user_id>&limit=1&cursor=<rejected_cursor>"
    ),
    Example("POST", "/v1/usage/rejected/{event_id}/retry", "/v1/usage/rejected/<rejected_event_id>/retry"),
]
_CLOUD_EVENT = (
    '{"specversion": "1.0", "id": "<new_key>", "source": "s", "type": "<event_type>", "subject": "<end_user_id>"}'
)
HOT = [
    Example("GET", "/v1/entitlements", "/v1/entitlements?end_user_id=<end_user_id>"),
    Example(
        "GET",
        "/v1/entitlements/check",
        "/v1/entitlements/check?end_user_id=<end_user_id>&feature_key=<feature_key>",
    ),
    Example(
        "POST",
        "/v1/entitlements/check",
        "/v1/entitlements/check",
        '{"checks": [{"end_user_id": "<end_user_id>", "feature_key": "<feature_key>"}]}',
    ),
    Example(
        "POST",
        "/v1/usage",
        "/v1/usage",
        '{"end_user_id": "<end_user_id>", "feature_key": "<feature_key>", "enforce": true}',
    ),
    Example("POST", "/v1/usage", "/v1/usage", _CLOUD_EVENT, "application/cloudevents+json"),
    Example(
        "POST",
        "/v1/usage/batch",
        "/v1/usage/batch",
        '{"events": [{"end_user_id": "<end_user_id>", "feature_key": "<feature_key>"}]}',
    ),
    Example("POST", "/api/v1/events", "/api/v1/events", _CLOUD_EVENT, "application/cloudevents+json"),
    Example(
        "POST",
        "/v1/features/{key}/acquire",
        "/v1/features/<gauge_key>/acquire",
        '{"end_user_id": "<end_user_id>", "holder": "<holder>"}',
    ),
    Example(
        "POST",
        "/v1/features/{key}/release",
        "/v1/features/<gauge_key>/release",
        '{"end_user_id": "<end_user_id>", "holder": "<holder>"}',
    ),
    Example(
        "POST",
        "/v1/reservations",
        "/v1/reservations",
        '{"end_user_id": "<end_user_id>", "feature_key": "<feature_key>", "units": 1}',
    ),
    Example("GET", "/v1/reservations/{reservation_id}", "/v1/reservations/<reservation_id>"),
    Example("GET", "/v1/reservations/{reservation_id}", "/v1/reservations/<ended_reservation_id>"),
    Example("POST", "/v1/reservations/{reservation_id}/extend", "/v1/reservations/<reservation_id>/extend", "{}"),
    Example(
        "POST", "/v1/reservations/{reservation_id}/commit", "/v1/reservations/<reservation_id>/commit", '{"units": 1}'
    ),
    Example("POST", "/v1/reservations/{reservation_id}/release", "/v1/reservations/<other_reservation_id>/release"),
]
API_KEYS = [
    Example("GET", "/v1/api-keys", "/v1/api-keys?limit=1&cursor=<api_keys_cursor>"),
    Example("POST", "/v1/api-keys", "/v1/api-keys", '{"name": "K", "scopes": ["usage:write"]}'),
    Example("GET", "/v1/api-keys/{api_key_id}", "/v1/api-keys/<api_key_id>"),
    Example("PATCH", "/v1/api-keys/{api_key_id}", "/v1/api-keys/<api_key_id>", '{"name": "Changed"}'),
    Example("POST", "/v1/api-keys/{api_key_id}/rotate", "/v1/api-keys/<api_key_id>/rotate", "{}"),
    Example("DELETE", "/v1/api-keys/{api_key_id}", "/v1/api-keys/<api_key_id>"),
]
AUDIT = [
    Example("GET", "/v1/audit-log", "/v1/audit-log?limit=1&cursor=<audit_cursor>"),
    Example("GET", "/v1/audit-log", "/v1/audit-log?actor=<api_key_id>"),
    Example("GET", "/v1/audit-log", "/v1/audit-log?subject_kind=customer&subject_id=<end_user_id>"),
]
WEBHOOKS = [
    Example("GET", "/v1/webhook-endpoints", "/v1/webhook-endpoints?limit=1&cursor=<endpoints_cursor>"),
    Example(
        "POST",
        "/v1/webhook-endpoints",
        "/v1/webhook-endpoints",
        '{"url": "https://hooks.example/<new_key>", "enabled": false}',
    ),
    Example("GET", "/v1/webhook-endpoints/{webhook_endpoint_id}", "/v1/webhook-endpoints/<webhook_endpoint_id>"),
    Example(
        "PATCH",
        "/v1/webhook-endpoints/{webhook_endpoint_id}",
        "/v1/webhook-endpoints/<webhook_endpoint_id>",
        '{"description": "Changed"}',
    ),
    Example(
        "POST",
        "/v1/webhook-endpoints/{webhook_endpoint_id}/rotate-secret",
        "/v1/webhook-endpoints/<webhook_endpoint_id>/rotate-secret",
        "{}",
    ),
    Example(
        "POST",
        "/v1/webhook-endpoints/{webhook_endpoint_id}/test",
        "/v1/webhook-endpoints/<webhook_endpoint_id>/test",
    ),
    Example("GET", "/v1/webhook-deliveries", "/v1/webhook-deliveries?limit=1&cursor=<deliveries_cursor>"),
    Example(
        "GET",
        "/v1/webhook-deliveries",
        "/v1/webhook-deliveries?endpoint_id=<webhook_endpoint_id>&event_id=<webhook_event_id>&end_user_id=<end_user_id>",
    ),
    Example(
        "POST",
        "/v1/webhook-deliveries/{webhook_delivery_id}/retry",
        "/v1/webhook-deliveries/<webhook_delivery_id>/retry",
    ),
    Example(
        "POST",
        "/v1/webhook-deliveries/replay",
        "/v1/webhook-deliveries/replay",
        '{"webhook_endpoint_id": "<webhook_endpoint_id>", "event_ids": ["<webhook_event_id>"]}',
    ),
    Example("DELETE", "/v1/webhook-endpoints/{webhook_endpoint_id}", "/v1/webhook-endpoints/<webhook_endpoint_id>"),
    Example("GET", "/v1/events", "/v1/events?limit=1&cursor=<feed_cursor>"),
    Example("GET", "/v1/events", "/v1/events?end_user_id=<end_user_id>"),
]
EXAMPLES = [*CATALOGUE, *CUSTOMERS, *MONEY, *SUBSCRIPTIONS, *USAGE, *API_KEYS, *AUDIT, *WEBHOOKS, *HOT]
