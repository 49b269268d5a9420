"""Sell credit in packs: a payment that was confirmed grants once, and free credit is spent before paid credit."""

from typing import Any

from http_client import RUN, Refused, call, make, wait_for

READER = f"reader-{RUN}"
PAYMENT = f"payment-{RUN}"


def confirmed(payment: str, package: str) -> dict[str, Any]:
    """What your payment provider's webhook calls, which it may do more than once."""
    topup = {"end_user_id": READER, "package_key": package, "payment_reference": payment}
    return call("POST", "/v1/topups", topup)


def blocks_left() -> dict[str, int]:
    """What is left of each block of credit, by where it came from, once all usage is in the ledger."""
    credit = wait_for(f"/v1/customers/{READER}/credits", lambda credit: credit["pending"] == 0)
    return {block["source"]: block["remaining"] for block in credit["blocks"]}


price = {"kind": "per_unit", "amount": 1}
make("/v1/features", {"key": "packs.stories", "name": "Stories", "price": price})
for key, amount, cents in (("packs.small", 100, 499), ("packs.large", 550, 1999)):
    make("/v1/topup-packages", {"key": key, "name": key, "credits": amount, "price_paid": cents, "currency": "EUR"})

print(f"{READER} signs up and gets 20 credits.")
call("POST", "/v1/customers", {"end_user_id": READER}, f"signup-{RUN}")
call("POST", "/v1/credits/grants", {"end_user_id": READER, "amount": 20, "reason": "Welcome"}, f"welcome-{RUN}")

print("They buy the small pack; the provider tells of the payment three times.")
topups = {confirmed(PAYMENT, "packs.small")["topup_id"] for _ in range(3)}
assert len(topups) == 1
balance = call("GET", f"/v1/customers/{READER}/credits")["balance"]
assert balance == 120
print(f"  one top-up, balance {balance}")

try:
    confirmed(PAYMENT, "packs.large")
except Refused as refused:
    assert refused.code == "payment_reference_used"
    print(f"  the same payment for another pack: {refused}")
else:
    raise AssertionError("one payment bought two packs")

print("Where would the next 30 credits come from?")
steps = call("GET", f"/v1/customers/{READER}/credits/explain?amount=30")["steps"]
assert [(step["source"], step["drawn"]) for step in steps] == [("promo", 20), ("topup", 10)]
for step in steps:
    print(f"  {step['drawn']} of the {step['remaining']} from {step['source']}")

print("They read 30 stories.")
call("POST", "/v1/usage", {"end_user_id": READER, "feature_key": "packs.stories", "units": 30}, f"stories-{RUN}")
left = blocks_left()
assert left == {"topup": 90}
print(f"  left: {left}")
