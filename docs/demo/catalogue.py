"""What is sold, and how it comes into QuotaStack: a feature, three plans and two packs, made once through the API."""

from typing import Any, Final

import msgspec

from quotastack import AsyncQuotaStack, ConflictError

FEATURE: Final = "chat.tokens"
CURRENCY: Final = "EUR"


class Plan(msgspec.Struct, frozen=True):
    """A plan with credits a month. `price_cents` is what the app asks for it: QuotaStack knows no plan's price."""

    key: str
    name: str
    credits: int
    price_cents: int


class Pack(msgspec.Struct, frozen=True):
    """Credits that are paid for once and never expire."""

    key: str
    name: str
    credits: int
    price_cents: int


FREE: Final = Plan("chat.free", "Free", 300, 0)
PLANS: Final = (FREE, Plan("chat.plus", "Plus", 2_000, 900), Plan("chat.pro", "Pro", 10_000, 2_900))
PACKS: Final = (Pack("chat.small", "Small pack", 500, 499), Pack("chat.large", "Large pack", 2_500, 1_999))
OFFERS: Final[dict[str, Plan | Pack]] = {offer.key: offer for offer in (*PLANS[1:], *PACKS)}
"""What can be bought, by key."""


async def set_up(metering: AsyncQuotaStack) -> dict[str, str]:
    """Make what is missing, and put whoever is seen for the first time on the free plan.

    The ids of the plans' variants, by key of the plan.
    """
    price = {"kind": "per_unit", "amount": 1}
    await make(metering, "/v1/features", {"key": FEATURE, "name": "Tokens", "price": price})
    variants = {plan.key: await make_plan(metering, plan) for plan in PLANS}
    for pack in PACKS:
        terms = {"key": pack.key, "name": pack.name, "credits": pack.credits}
        sold = {"price_paid": pack.price_cents, "currency": CURRENCY}
        await make(metering, "/v1/topup-packages", terms | sold)
    free = {"free_plan_variant_id": variants[FREE.key], "auto_enroll": True}
    await metering.request("PATCH", "/v1/environment", body=free)
    return variants


async def make_plan(metering: AsyncQuotaStack, plan: Plan) -> str:
    """A plan with its monthly variant; the id of the variant. Nobody pays for the free one, so it is postpaid."""
    await make(metering, "/v1/plans", {"key": plan.key, "name": plan.name})
    terms = {
        "key": "monthly",
        "interval": "month",
        "billing_mode": "prepaid" if plan.price_cents else "postpaid",
        "grants": [{"key": "monthly", "amount": plan.credits, "interval": "month"}],
        "features": [{"feature_key": FEATURE}],
    }
    return (await make(metering, f"/v1/plans/{plan.key}/variants", terms))["plan_variant_id"]


async def make(metering: AsyncQuotaStack, path: str, body: dict[str, Any]) -> Any:  # noqa: ANN401 - the answer's JSON
    """Make it, or answer what is there under its key since an earlier start."""
    try:
        return await metering.request("POST", path, body=body)
    except ConflictError:
        return await metering.request("GET", f"{path}/{body['key']}")
