"""A plan with a feature of every kind, and what is held of its gauges."""

from typing import Any

from app.rules.entitlement import FeatureKind, Standing
from app.wire import keys
from app.wire.snapshot import FeatureTerms, PlanSnapshot
from tests.edge.world import Answer, Tenant


def terms(kind: FeatureKind, value: str | None, *, included: bool = True) -> FeatureTerms:
    """Of a feature that is not metered; `value` is JSON."""
    return FeatureTerms([], included=included, kind=kind, value=value)


def plan_of_kinds(
    tenant: Tenant, *, cap: int | None = 10, subscribed: bool = True, standing: Standing = Standing.OK
) -> PlanSnapshot:
    """`seats` has this cap, `runs` none; `on` and `off` are switches; `models` is a static value."""
    features = {
        "seats": terms(FeatureKind.GAUGE, "null" if cap is None else str(cap)),
        "runs": terms(FeatureKind.GAUGE, "null"),
        "on": terms(FeatureKind.BOOLEAN, "true"),
        "off": terms(FeatureKind.BOOLEAN, "false"),
        "models": terms(FeatureKind.STATIC, '{"best":"x-1","ratio":1.50}'),
        "extra_seats": terms(FeatureKind.GAUGE, "5", included=False),
        "bare_seats": terms(FeatureKind.GAUGE, None, included=False),
        "extra_models": terms(FeatureKind.STATIC, '"secret"', included=False),
    }
    plan = tenant.plan(subscribed=subscribed, **features)
    return PlanSnapshot(plan.environment_id, plan.subscribed, plan.features, standing=standing)


async def acquire(tenant: Tenant, end_user_id: str, holder: str, feature_key: str = "seats", **more: Any) -> Answer:
    """`POST /v1/features/{key}/acquire`."""
    body = {"end_user_id": end_user_id, "holder": holder, **more}
    return await tenant.send("POST", f"/v1/features/{feature_key}/acquire", json=body)


async def release(tenant: Tenant, end_user_id: str, holder: str, feature_key: str = "seats") -> Answer:
    """`POST /v1/features/{key}/release`."""
    body = {"end_user_id": end_user_id, "holder": holder}
    return await tenant.send("POST", f"/v1/features/{feature_key}/release", json=body)


async def held(tenant: Tenant, end_user_id: str) -> dict[bytes, bytes]:
    """What Redis says that is held."""
    ref = keys.account_ref(tenant.ref, end_user_id)
    return await tenant.world.redis.hgetall(keys.gauge(tenant.partition(end_user_id), ref))
