"""A monthly grant of which a part rolls over, and a top-up for a busy month that outlives it.

Beside it a plan whose credit piles up from month to month, as far as its cap.
"""

from typing import Any

from http_client import RUN, call, make, wait_for
from sandbox_clock import own_sandbox, pass_time_to

TEAM, SAVER = f"team-{RUN}", f"saver-{RUN}"


def subscribe(end_user_id: str, key: str, name: str, grant: dict[str, Any]) -> str:
    """Make a monthly plan with this grant and put somebody on it; the path of the subscription."""
    make("/v1/plans", {"key": key, "name": name})
    terms = {"key": "monthly", "interval": "month", "billing_mode": "postpaid", "grants": [grant]}
    variant = make(f"/v1/plans/{key}/variants", terms | {"features": [{"feature_key": "rollover.images"}]})
    asked = {"end_user_id": end_user_id, "plan_variant_id": variant["plan_variant_id"]}
    return f"/v1/subscriptions/{call('POST', '/v1/subscriptions', asked)['subscription_id']}"


def end_month(subscription: str) -> None:
    """Pass time to where the present month ends and the next one begins."""
    pass_time_to(call("GET", subscription)["period_end"])


def render(images: int, end_user_id: str = TEAM) -> None:
    """Record what was rendered."""
    event = {"end_user_id": end_user_id, "feature_key": "rollover.images", "units": images}
    used = call("POST", "/v1/usage", event)
    print(f"  {images} images rendered, {used['balance']} credits left")


def may_render(images: int) -> bool:
    """Whether so many images would be covered."""
    query = f"end_user_id={TEAM}&feature_key=rollover.images&units={images}"
    return call("GET", f"/v1/entitlements/check?{query}")["allowed"]


def credit_of(end_user_id: str) -> Any:
    """Somebody's credit, once all usage is in the ledger."""
    return wait_for(f"/v1/customers/{end_user_id}/credits", lambda credit: credit["pending"] == 0)


def blocks() -> dict[str, int]:
    """What is left of the team's credit, by source."""
    found = credit_of(TEAM)["blocks"]
    for block in found:
        print(f"  {block['source']}: {block['remaining']} of {block['granted']}, to {block['expires_at'][:10]}")
    return {block["source"]: block["remaining"] for block in found}


own_sandbox()
price = {"kind": "per_unit", "amount": 10}
make("/v1/features", {"key": "rollover.images", "name": "Images", "price": price})
burst = {"key": "rollover.burst", "name": "Burst", "credits": 500, "price_paid": 999, "currency": "EUR"}
make("/v1/topup-packages", burst | {"expires_after_days": 90})

print(f"{TEAM} gets 1000 credits a month; of what is left, half rolls over to the next, at most 300.")
grant = {"amount": 1000, "interval": "month", "rollover": {"percent": 50, "cap": 300}}
subscription = subscribe(TEAM, "rollover.team", "Team", grant)
render(30)
end_month(subscription)
assert blocks() == {"rollover": 300, "plan": 1000}

print("A busy month: after 125 images another 30 are not covered, until a burst of 500 is bought.")
render(125)
assert not may_render(30)
call("POST", "/v1/topups", {"end_user_id": TEAM, "package_key": "rollover.burst", "payment_reference": f"burst-{RUN}"})
assert may_render(30)
render(30)

print("What expires first was spent first, so what is left is the burst's, and outlives the month.")
end_month(subscription)
assert blocks() == {"plan": 1000, "topup": 250}

print(f"{SAVER} gets 400 a month that live for a year, and holds 1000 of them at most.")
year = {"interval": "year"}
grant = {"amount": 400, "interval": "month", "expires_after": year, "accumulation_cap": 1000}
subscription = subscribe(SAVER, "rollover.saver", "Saver", grant)
held = [credit_of(SAVER)["balance"]]
for _ in range(3):
    end_month(subscription)
    held.append(credit_of(SAVER)["balance"])
assert held == [400, 800, 1000, 1000]
render(25, SAVER)
end_month(subscription)
held.append(credit_of(SAVER)["balance"])
assert held[-1] == 1000
print(f"  from month to month: {held}, as 250 were spent in the fourth")
