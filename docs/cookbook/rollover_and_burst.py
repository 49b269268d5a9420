"""A monthly grant of which a part rolls over, and a top-up for a busy month that outlives it."""

from http_client import RUN, call, make, wait_for
from sandbox_clock import own_sandbox, pass_time_to

TEAM = f"team-{RUN}"


def render(images: int) -> None:
    """Record what was rendered."""
    event = {"end_user_id": TEAM, "feature_key": "rollover.images", "units": images}
    used = call("POST", "/v1/usage", event)
    print(f"  {images} images rendered, {used['balance']} credits left")


def may_render(images: int) -> bool:
    """Whether so many images would be covered."""
    query = f"end_user_id={TEAM}&feature_key=rollover.images&units={images}"
    return call("GET", f"/v1/entitlements/check?{query}")["allowed"]


def blocks() -> dict[str, int]:
    """What is left of the team's credit by source, once all usage is in the ledger."""
    credit = wait_for(f"/v1/customers/{TEAM}/credits", lambda credit: credit["pending"] == 0)
    for block in credit["blocks"]:
        print(f"  {block['source']}: {block['remaining']} of {block['granted']}, to {block['expires_at'][:10]}")
    return {block["source"]: block["remaining"] for block in credit["blocks"]}


own_sandbox()
price = {"kind": "per_unit", "amount": 10}
make("/v1/features", {"key": "rollover.images", "name": "Images", "price": price})
burst = {"key": "rollover.burst", "name": "Burst", "credits": 500, "price_paid": 999, "currency": "EUR"}
make("/v1/topup-packages", burst | {"expires_after_days": 90})
make("/v1/plans", {"key": "rollover.team", "name": "Team"})
terms = {
    "key": "monthly",
    "interval": "month",
    "billing_mode": "postpaid",
    "grants": [{"amount": 1000, "interval": "month", "rollover": {"percent": 50, "cap": 300}}],
    "features": [{"feature_key": "rollover.images"}],
}
variant = make("/v1/plans/rollover.team/variants", terms)["plan_variant_id"]

print(f"{TEAM} gets 1000 credits a month; of what is left, half rolls over to the next, at most 300.")
subscribed = call("POST", "/v1/subscriptions", {"end_user_id": TEAM, "plan_variant_id": variant}, f"subscribe-{RUN}")
subscription = f"/v1/subscriptions/{subscribed['subscription_id']}"
render(30)
pass_time_to(subscribed["period_end"])
assert blocks() == {"rollover": 300, "plan": 1000}

print("A busy month: after 125 images another 30 are not covered, until a burst of 500 is bought.")
render(125)
assert not may_render(30)
call("POST", "/v1/topups", {"end_user_id": TEAM, "package_key": "rollover.burst", "payment_reference": f"burst-{RUN}"})
assert may_render(30)
render(30)

print("What expires first was spent first, so what is left is the burst's, and outlives the month.")
pass_time_to(call("GET", subscription)["period_end"])
assert blocks() == {"plan": 1000, "topup": 250}
