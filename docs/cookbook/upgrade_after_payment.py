"""Prepaid plans: show what an upgrade gives, take the payment, then upgrade; renew when the next payment has come."""

from typing import Any

from http_client import RUN, call, make
from sandbox_clock import own_sandbox, pass_time_to

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


def check() -> dict[str, Any]:
    """What your application asks before a task."""
    return call("GET", f"/v1/entitlements/check?end_user_id={BUYER}&feature_key=upgrade.tasks")


def on_payment(payment: str, action: str, body: dict[str, Any]) -> dict[str, Any]:
    """Your provider's webhook. It may come more than once, so the payment's own id is the reference: it does one thing.

    Each delivery has an idempotency key of its own, which `call` makes: an old one would answer an old refusal again.
    """
    return call("POST", f"{subscription}/{action}", {"payment_reference": payment} | body)


own_sandbox()
make("/v1/features", {"key": "upgrade.tasks", "name": "Tasks", "price": {"kind": "per_unit", "amount": 1}})
starter, pro = plan("upgrade.starter", "Starter", 100), plan("upgrade.pro", "Pro", 1000)

print(f"{BUYER} has paid for a month of Starter.")
made = call("POST", "/v1/subscriptions", {"end_user_id": BUYER, "plan_variant_id": starter}, f"subscribe-{RUN}")
subscription = f"/v1/subscriptions/{made['subscription_id']}"
print(f"  {made['plan_key']} is {made['state']}, {check()['balance']} tasks")

print("They look at Pro: what would they get for the rest of the month? Nothing changes yet.")
preview = call("POST", f"{subscription}/change/preview", {"plan_variant_id": pro})
assert (preview["credits_granted"], check()["balance"]) == (900, 100)
print(f"  {preview['credits_granted']} tasks more, at once")

print("They pay, and the provider tells of it twice.")
for _ in range(2):
    changed = on_payment(f"first-{RUN}", "change", {"plan_variant_id": pro, "reason": "Paid for Pro"})
assert (changed["plan_key"], check()["balance"]) == ("upgrade.pro", 1000)
print(f"  {changed['plan_key']} is {changed['state']}, {check()['balance']} tasks")

print("They want Starter again: that gives less, so it waits until what was paid for is over.")
call("POST", f"{subscription}/change", {"plan_variant_id": starter})
print("They pay for the next month before this one ends, and the provider tells of it twice.")
for _ in range(2):
    renewed = on_payment(f"second-{RUN}", "renew", {})
assert (renewed["plan_key"], renewed["renewed"]) == ("upgrade.pro", True)
pass_time_to(renewed["period_end"])
present = call("GET", subscription)
assert (present["plan_key"], check()["balance"]) == ("upgrade.starter", 100)
print(f"  {present['plan_key']} is {present['state']}, {check()['balance']} tasks")

print("For the month after that nobody pays.")
pass_time_to(present["period_end"])
present = call("GET", subscription)
assert (present["state"], check()["reason"]) == ("overdue", "subscription_overdue")
print(
    f"  {present['plan_key']} is {present['state']} and may not be used; it waits until {present['overdue_until'][:10]}"
)

print("The payment comes late.")
renewed = on_payment(f"third-{RUN}", "renew", {})
assert (renewed["state"], check()["balance"]) == ("active", 100)
print(f"  {renewed['plan_key']} is {renewed['state']}, {check()['balance']} tasks")

print("What became of the subscription, the newest first:")
for change in call("GET", f"{subscription}/history")["data"]:
    print(f"  {change['at'][:10]} {change['action']} {change['reason'] or change['payment_reference'] or ''}".rstrip())
