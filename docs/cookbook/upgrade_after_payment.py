"""Prepaid plans: show what an upgrade gives, take the payment, then upgrade; renew when the next payment has come."""

from typing import Any

from http_client import RUN, call, make

BUYER = f"buyer-{RUN}"


def plan(key: str, name: str, tasks: int) -> str:
    """A prepaid plan with so many tasks a month; the id of its variant."""
    make("/v1/plans", {"key": key, "name": name})
    terms = {
        "key": "monthly",
        "interval": "month",
        "billing_mode": "prepaid",
        "grants": [{"key": "tasks", "amount": tasks, "interval": "month"}],
        "features": [{"feature_key": "upgrade.tasks"}],
    }
    return make(f"/v1/plans/{key}/variants", terms)["plan_variant_id"]


def balance() -> float:
    """What the buyer can spend now."""
    return call("GET", f"/v1/entitlements/check?end_user_id={BUYER}&feature_key=upgrade.tasks")["balance"]


def on_payment(payment: str, action: str, body: dict[str, Any]) -> dict[str, Any]:
    """Your provider's webhook. It may come more than once, so the payment's own id is the idempotency key."""
    return call("POST", f"{subscription}/{action}", body, f"{action} {payment}")


make("/v1/features", {"key": "upgrade.tasks", "name": "Tasks", "price": {"kind": "per_unit", "amount": 1}})
starter, pro = plan("upgrade.starter", "Starter", 100), plan("upgrade.pro", "Pro", 1000)

print(f"{BUYER} has paid for a month of Starter.")
made = call("POST", "/v1/subscriptions", {"end_user_id": BUYER, "plan_variant_id": starter}, f"subscribe-{RUN}")
subscription = f"/v1/subscriptions/{made['subscription_id']}"
print(f"  {made['plan_key']} is {made['state']}, {balance()} tasks")

print("They look at Pro: what would they get for the rest of the month? Nothing changes yet.")
preview = call("POST", f"{subscription}/change/preview", {"plan_variant_id": pro})
assert 899 < preview["credits_granted"] <= 900
assert balance() == 100
print(f"  {preview['credits_granted']:.0f} tasks more, at once")

print("They pay, and the provider tells of it twice.")
for _ in range(2):
    changed = on_payment(f"first-{RUN}", "change", {"plan_variant_id": pro, "reason": "Paid for Pro"})
assert changed["plan_key"] == "upgrade.pro"
assert 999 < balance() <= 1000
print(f"  {changed['plan_key']} is {changed['state']}, {balance():.0f} tasks")

print("Before the month ends they pay for the next, and the provider tells of it twice.")
for _ in range(2):
    renewed = on_payment(f"second-{RUN}", "renew", {"payment_reference": f"second-{RUN}"})
assert renewed["renewed"]
print(f"  renewed: the next month begins at {renewed['period_end']}")

print("They want Starter again: that gives less, so it waits for the end of what was paid for. They stay after all.")
downgraded = call("POST", f"{subscription}/change", {"plan_variant_id": starter})
assert downgraded["plan_key"] == "upgrade.pro"
print(f"  {downgraded['scheduled']['plan_key']} from {downgraded['scheduled']['at']}")
assert call("DELETE", f"{subscription}/scheduled-change")["scheduled"] is None

print("What became of the subscription, the newest first:")
history = call("GET", f"{subscription}/history")["data"]
for change in history:
    print(f"  {change['action']} {change['reason'] or change['payment_reference'] or ''}".rstrip())
assert [change["action"] for change in history] == ["unschedule", "schedule_change", "renew", "change", "create"]
