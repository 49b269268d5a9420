"""A monthly grant of which a part rolls over, a top-up for a busy week, and where credit counts as low."""

from time import sleep
from typing import Any

from http_client import RUN, call, make

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


def blocks() -> list[Any]:
    """The team's blocks of credit once all usage is in the ledger."""
    while (credit := call("GET", f"/v1/customers/{TEAM}/credits"))["pending"] != 0:
        sleep(0.1)
    for block in credit["blocks"]:
        print(f"  {block['source']}: {block['remaining']} of {block['granted']} to {block['expires_at']}")
    return credit["blocks"]


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
call("POST", "/v1/subscriptions", {"end_user_id": TEAM, "plan_variant_id": variant}, f"subscribe-{RUN}")
render(95)

print("A busy week: 30 images more are not covered, until a burst of 500 is bought.")
assert not may_render(30)
call("POST", "/v1/topups", {"end_user_id": TEAM, "package_key": "rollover.burst", "payment_reference": f"burst-{RUN}"})
assert may_render(30)
render(30)

print("What expires first was spent first: the month's credit is gone, the rest is the burst's.")
[left] = blocks()
assert (left["source"], left["remaining"]) == ("topup", 250)
