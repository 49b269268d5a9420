"""What has to be there before anything is sent: features, a plan, and the customers whom Locust's users share."""

import secrets
from typing import NamedTuple

from app.replay.parallel import for_each
from loadtests.load.client import Api, created
from loadtests.load.judging import MICRO
from loadtests.load.plan import (
    MONTHLY_CREDITS,
    PRICES_MICRO,
    PROBED,
    feature_key,
)

RUN_BYTES = 4


class Catalogue(NamedTuple):
    """The names that a run uses."""

    run: str
    variant_id: str

    @property
    def probed(self) -> str:
        """The feature of the probes."""
        return feature_key(self.run, PROBED)


async def create_tenant(operator: Api) -> str:
    """A tenant of the run's own; the key of its sandbox. Raises Wrong or NoAnswer."""
    return (await created(operator, "/v1/tenants", {"name": "load"}))["sandbox_key"]


async def make_catalogue(core: Api) -> Catalogue:
    """Features and a plan under names that no other run has. Raises Wrong or NoAnswer."""
    run = f"load_{secrets.token_hex(RUN_BYTES)}"
    for name, price_micro in PRICES_MICRO.items():
        price = {"kind": "per_unit", "amount": price_micro, "per": MICRO}
        feature = {"key": feature_key(run, name), "name": name, "kind": "metered", "price": price}
        await created(core, "/v1/features", feature, f"{run}:feature:{name}")
    await created(core, "/v1/plans", {"key": run, "name": "Load"}, f"{run}:plan")
    variant = {
        "key": "monthly",
        "interval": "month",
        "grants": [{"amount": MONTHLY_CREDITS, "interval": "month"}],
        "features": [{"feature_key": feature_key(run, name)} for name in PRICES_MICRO],
    }
    made = await created(core, f"/v1/plans/{run}/variants", variant, f"{run}:variant")
    return Catalogue(run, made["plan_variant_id"])


async def subscribe_customers(core: Api, catalogue: Catalogue, end_user_ids: list[str]) -> None:
    """Subscribe everybody, a few at a time. Raises Wrong or NoAnswer."""

    async def subscribe(end_user_id: str) -> None:
        body = {"end_user_id": end_user_id, "plan_variant_id": catalogue.variant_id}
        await created(core, "/v1/subscriptions", body, f"{end_user_id}:subscribed")

    await for_each(end_user_ids, subscribe)
