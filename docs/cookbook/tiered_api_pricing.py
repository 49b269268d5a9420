"""An API that gets cheaper by volume, with overage up to a limit, shown as it is used and billed afterwards."""

from typing import Any

from http_client import RUN, Refused, call, make, wait_for
from sandbox_clock import own_sandbox, pass_time_to

CLIENT = f"client-{RUN}"


def record(calls: int, cost: float) -> None:
    """Record calls where credit and overage allow them, and see what they cost."""
    event = {"end_user_id": CLIENT, "feature_key": "tiers.calls", "units": calls, "enforce": True}
    used = call("POST", "/v1/usage", event)
    assert used["cost"] == cost
    print(f"  {calls} calls cost {used['cost']}, {used['overage']} of it overage; balance {used['balance']}")


def posted() -> dict[str, Any]:
    """The client's credit once all usage is in the ledger."""
    return wait_for(f"/v1/customers/{CLIENT}/credits", lambda credit: credit["pending"] == 0)


own_sandbox()
tiers = [{"amount": 0.05, "up_to": 1000}, {"amount": 0.03, "up_to": 5000}, {"amount": 0.01}]
make("/v1/features", {"key": "tiers.calls", "name": "Calls", "price": {"kind": "graduated", "tiers": tiers}})
make("/v1/plans", {"key": "tiers.api", "name": "API"})
terms = {
    "key": "monthly",
    "interval": "month",
    "billing_mode": "postpaid",
    "overage_policy": "allow",
    "overage_limit": 100,
    "grants": [{"amount": 200, "interval": "month"}],
    "features": [{"feature_key": "tiers.calls"}],
}
variant = make("/v1/plans/tiers.api/variants", terms)["plan_variant_id"]
subscribed = call("POST", "/v1/subscriptions", {"end_user_id": CLIENT, "plan_variant_id": variant})

print("200 credits a month; a call costs 0.05 up to the 1000th, 0.03 up to the 5000th, then 0.01.")
record(500, cost=25)
record(1500, cost=500 * 0.05 + 1000 * 0.03)
record(12000, cost=3000 * 0.03 + 9000 * 0.01)

print("60 credits of overage, of 100 that are allowed. Calls for 50 more would go beyond, calls for 10 would not:")
try:
    record(5000, cost=50)
except Refused as refused:
    assert refused.code == "insufficient_credits"
    print(f"  {refused}")
else:
    raise AssertionError("overage had no limit")
record(1000, cost=10)

print("What was used, as your dashboard would show it:")
credit = posted()
assert credit["debt"] == 70
period = f"from={subscribed['period_start']}&to={subscribed['period_end']}"
[used] = call("GET", f"/v1/usage?end_user_id={CLIENT}&bucket=total&{period}")["data"]
print(f"  {used['units']} calls in {used['events']} events, {used['credits']} credits; {credit['debt']} are owed")

print("The month ends: its overage goes on your invoice, is owed no more, and the tiers begin anew.")
pass_time_to(subscribed["period_end"])
ledger = call("GET", f"/v1/customers/{CLIENT}/ledger")["data"]
[billed] = [entry for entry in ledger if entry["kind"] == "overage_billed"]
assert (billed["total_before"], billed["total_after"]) == (-70, 0)
print(f"  billed: {billed['total_after'] - billed['total_before']} credits, at {billed['posted_at']}")
assert posted()["balance"] == 200
record(500, cost=25)
