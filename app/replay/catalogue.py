"""What has to be there before usage can be sent: two features, a plan, and a subscription for each customer.

Each is asked for and taken as it is where it is there already. Nothing needs an idempotency key: a feature, a plan and
a customer's subscription exist once, so a request whose answer was lost is answered with 409 the next time.
"""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Final

import msgspec

from app.replay.client import Client, Patience, decode, describe
from app.replay.errors import ReplayError
from app.replay.parallel import for_each
from app.replay.plan import FEATURES, INPUT_TOKENS, OUTPUT_TOKENS

PATIENCE_SECONDS: Final = 15
"""For one request: short, so that a wrong address is told soon."""

_PLAN: Final = "trace"
_VARIANT: Final = "monthly"
_CREDITS_PER_MONTH: Final = 100
_CREDITS_PER_MILLION: Final = {INPUT_TOKENS: 3, OUTPUT_TOKENS: 15}
_VARIANTS_PATH: Final = f"/v1/plans/{_PLAN}/variants"


async def ensure_catalogue(client: Client) -> str:
    """Make what is missing of the features and the plan; the id of its variant. Raises ReplayError."""
    for feature_key in FEATURES:
        price = {"kind": "per_unit", "amount": _CREDITS_PER_MILLION[feature_key], "per": 1_000_000}
        name = feature_key.replace("_", " ").capitalize()
        await _ensure(client, "/v1/features", {"key": feature_key, "name": name, "kind": "metered", "price": price})
    await _ensure(client, "/v1/plans", {"key": _PLAN, "name": _PLAN.capitalize()})
    variant = {
        "key": _VARIANT,
        "interval": "month",
        "grants": [{"amount": _CREDITS_PER_MONTH, "interval": "month"}],
        "features": [{"feature_key": feature_key} for feature_key in FEATURES],
    }
    await _ensure(client, _VARIANTS_PATH, variant)
    return await _find_variant(client)


async def ensure_subscriptions(
    client: Client, variant_id: str, end_user_ids: Iterable[str], advance: Callable[[int], None]
) -> None:
    """Subscribe each customer who has no subscription, and tell `advance` of every one. Raises ReplayError."""

    async def ensure(end_user_id: str) -> None:
        await _ensure(client, "/v1/subscriptions", {"end_user_id": end_user_id, "plan_variant_id": variant_id})
        advance(1)

    await for_each(end_user_ids, ensure)


async def _ensure(client: Client, path: str, body: object) -> None:
    answer = await client.send("POST", path, body, Patience(PATIENCE_SECONDS))
    if answer.status not in {HTTPStatus.CREATED, HTTPStatus.CONFLICT}:
        raise ReplayError(describe("POST", path, answer))


async def _find_variant(client: Client) -> str:
    answer = await client.send("GET", _VARIANTS_PATH, None, Patience(PATIENCE_SECONDS))
    if answer.status != HTTPStatus.OK:
        raise ReplayError(describe("GET", _VARIANTS_PATH, answer))
    for variant in decode("GET", _VARIANTS_PATH, answer, _Variants).data:
        if variant.key == _VARIANT:
            return variant.plan_variant_id
    raise ReplayError(f"the plan {_PLAN!r} has no variant {_VARIANT!r} among its first")


class _Variant(msgspec.Struct):
    plan_variant_id: str
    key: str


class _Variants(msgspec.Struct):
    data: list[_Variant]
