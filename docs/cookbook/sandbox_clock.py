"""A sandbox of the script's own, and its clock: months pass in a moment, and nobody else's time moves."""

import json
import os
from urllib.request import Request, urlopen

from http_client import RUN, call


def own_sandbox() -> None:
    """Make a tenant as its operator, go on with its sandbox key, and have its time stand still."""
    headers = {"Authorization": f"Bearer {os.environ['QUOTASTACK_ADMIN_TOKEN']}", "Content-Type": "application/json"}
    tenant = json.dumps({"name": f"cookbook-{RUN}"}).encode()
    # Without an idempotency key: the answer shows keys that are shown once.
    with urlopen(Request(os.environ["QUOTASTACK_URL"] + "/v1/tenants", tenant, headers), timeout=30) as answer:
        os.environ["QUOTASTACK_KEY"] = json.load(answer)["sandbox_key"]
    call("POST", "/v1/test-clock/freeze", {})


def pass_time_to(moment: str) -> None:
    """Move the clock on to a moment. By the answer everything that falls due until then has happened."""
    call("POST", "/v1/test-clock/advance", {"to": moment})
    print(f"  ... until {moment[:10]}")
