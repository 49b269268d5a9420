"""Free messages for whoever comes, a paywall where they run out, and an upgrade that opens it.

Nobody is signed up by hand: an end user who is seen for the first time is put on the free plan.
"""

from collections import Counter
from typing import Any

from http_client import RUN, call, make, wait_for

VISITOR = f"visitor-{RUN}"
FREE_MESSAGES = 5


def plan(key: str, name: str, messages: int) -> str:
    """A plan with so many messages a month; the id of its variant. Nobody pays for it before the month begins."""
    make("/v1/plans", {"key": key, "name": name})
    terms = {
        "key": "monthly",
        "interval": "month",
        "billing_mode": "postpaid",
        "grants": [{"amount": messages, "interval": "month"}],
        "features": [{"feature_key": "paywall.messages"}],
    }
    return make(f"/v1/plans/{key}/variants", terms)["plan_variant_id"]


def may_send() -> dict[str, Any]:
    """What your application asks before every message."""
    return call("GET", f"/v1/entitlements/check?end_user_id={VISITOR}&feature_key=paywall.messages")


def send_message(number: int) -> None:
    """What your application does: it answers, and records the message under its own id, with who answered."""
    event = {"end_user_id": VISITOR, "feature_key": "paywall.messages", "units": 1}
    event["properties"] = {"character": "Ada" if number % 2 else "Lin"}
    used = call("POST", "/v1/usage", event, f"message-{RUN}-{number}")
    print(f"  message {number} answered, {used['balance']} left")


def messages_by_character(sent: int) -> Counter[str]:
    """Whom the visitor talked to, once all that was sent is in the ledger."""
    found = wait_for(f"/v1/usage/events?end_user_id={VISITOR}", lambda found: len(found["data"]) == sent)
    return Counter(event["properties"]["character"] for event in found["data"])


price = {"kind": "per_unit", "amount": 1}
make("/v1/features", {"key": "paywall.messages", "name": "Messages", "price": price})
free, plus = plan("paywall.free", "Free", FREE_MESSAGES), plan("paywall.plus", "Plus", 500)

before = call("GET", "/v1/environment")
call("PATCH", "/v1/environment", {"free_plan_variant_id": free, "auto_enroll": True})
try:
    print(f"{VISITOR} comes for the first time.")
    sent = 0
    while (check := may_send())["allowed"]:
        sent += 1
        send_message(sent)
    assert sent == FREE_MESSAGES
    assert check["reason"] == "insufficient_credits"
    print(f"  paywall: {check['reason']}")

    print(f"{VISITOR} pays, and you subscribe them to Plus.")
    subscription = call("POST", "/v1/subscriptions", {"end_user_id": VISITOR, "plan_variant_id": plus})
    check = may_send()
    assert check["allowed"]
    print(f"  {subscription['plan_key']} is {subscription['state']}, {check['balance']} messages left")
    send_message(sent + 1)
    by_character = messages_by_character(sent + 1)
    assert by_character == {"Ada": 3, "Lin": 3}
    print(f"  so far Ada has answered {by_character['Ada']} and Lin {by_character['Lin']}")

    print(f"{VISITOR} leaves Plus at once.")
    call("POST", f"/v1/subscriptions/{subscription['subscription_id']}/cancel", {"at": "now"})
    [present] = call("GET", f"/v1/subscriptions?end_user_id={VISITOR}&state=active")["data"]
    left = may_send()["balance"]
    assert (present["plan_key"], left) == ("paywall.free", 499)
    print(f"  back on {present['plan_key']}; the {left} messages that were paid for stay to the end of their month")
finally:
    call("PATCH", "/v1/environment", {name: before[name] for name in ("free_plan_variant_id", "auto_enroll")})
