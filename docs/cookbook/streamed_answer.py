"""A model's answer whose cost is known afterwards: reserve, stream, commit what was used.

Three answers: one that is read to its end, one whose reader leaves, one whose process dies.
"""

from collections.abc import Generator, Iterator
from contextlib import closing

from http_client import RUN, call, make, wait_for

ASKER = f"asker-{RUN}"
MOST_TOKENS = 1000


def model(tokens: int) -> Iterator[int]:
    """Stands for your model: it streams ten tokens at a time and says how many there were so far."""
    yield from range(10, tokens + 1, 10)


def reserve(request: str, seconds: int) -> str:
    """Set aside what the answer may cost at most; the path of the reservation."""
    before = balance()
    body = {"end_user_id": ASKER, "feature_key": "stream.tokens", "units": MOST_TOKENS, "ttl_seconds": seconds}
    opened = call("POST", "/v1/reservations", body, f"{request}-{RUN}")
    assert opened["balance"] == balance() == round(before - opened["reserved"], 6)
    print(f"  {opened['reserved']} credits set aside, {opened['balance']} left to spend meanwhile")
    return f"/v1/reservations/{opened['reservation_id']}"


def stream(request: str, tokens: int) -> Generator[int, None, None]:
    """The answer, piece by piece. Whatever ends it, what was streamed until then is committed."""
    reservation, used = reserve(request, 60), 0
    try:
        for used in model(tokens):
            if used % 200 == 0:
                call("POST", f"{reservation}/extend", {"ttl_seconds": 60})
            yield used
    finally:
        ended = call("POST", f"{reservation}/commit", {"units": used})
        print(f"  {used} tokens: {ended['charged']} credits charged, {ended['released']} back")


def balance() -> float:
    """What the asker can spend now."""
    return call("GET", f"/v1/entitlements/check?end_user_id={ASKER}&feature_key=stream.tokens")["balance"]


price = {"kind": "per_unit", "amount": 20, "per": 1000}
make("/v1/features", {"key": "stream.tokens", "name": "Tokens", "price": price})
call("POST", "/v1/customers", {"end_user_id": ASKER})
call("POST", "/v1/credits/grants", {"end_user_id": ASKER, "amount": 100})

print("An answer that is read to its end:")
for _ in stream("whole", 450):
    pass
assert balance() == 91

print("An answer whose reader leaves after 120 tokens:")
with closing(stream("left", 450)) as answer:
    while next(answer) < 120:
        pass
assert balance() == 88.6

print("An answer whose process dies, so that nobody commits:")
reservation = reserve("died", 1)
wait_for(reservation, lambda found: found["state"] == "expired")
assert balance() == 88.6
print(f"  expired by itself: {balance()} credits again")
