"""docs/subscriptions.md: its examples, sent in their order, are all answered as they should be."""

import json
import re
from pathlib import Path

import pytest

from tests.app.core import Tenant

pytestmark = pytest.mark.usefixtures("flusher")
PAGE = (Path(__file__).parents[3] / "docs" / "subscriptions.md").read_text()
EXAMPLES = re.findall(r"^send ([A-Z]+) \"\$CORE(/\S+)\"(?: '(\{[^']*\})')?$", PAGE, re.MULTILINE)
MAKING = re.compile(r"/v1/(plans|plans/\w+/variants|plans/\w+/variants/\w+/versions|subscriptions)")


async def test_examples(tenant: Tenant) -> None:
    """Every call of the page, with the ids that were answered before; there are as many as lines that send."""
    assert len(EXAMPLES) == len(re.findall(r"^send [A-Z]", PAGE, re.MULTILINE)) >= 15
    ids: dict[str, str] = {}
    for method, path, body in EXAMPLES:
        path_sent, body_sent = (re.sub(r"\b[A-Z]{4,}\b", lambda name: ids[name[0]], text) for text in (path, body))
        sent = {"json": json.loads(body_sent)} if body else {}
        answer = await tenant.sandbox.send(method, path_sent, **sent)
        is_made = method == "POST" and MAKING.fullmatch(path) is not None
        assert answer.status_code == (201 if is_made else 200), (path, answer.text)
        if path.endswith("/variants"):
            ids[answer.json()["plan_key"].upper()] = answer.json()["plan_variant_id"]
        elif path == "/v1/subscriptions" and is_made:
            ids["SUBSCRIPTION"] = answer.json()["subscription_id"]


async def test_the_numbers_of_the_change(tenant: Tenant) -> None:
    """From 1,000 to 5,000 credits with half of the time to go: 2,000 are granted."""
    assert "2,500 less 500 are 2,000 credits" in PAGE
    client = tenant.sandbox
    variants: list[str] = []
    for key, amount in (("team", 1_000), ("company", 5_000)):
        await client.made("/v1/plans", {"key": key, "name": key})
        ten_days = {"interval": "day", "interval_count": 10}
        body = {"key": "ten_days", **ten_days, "grants": [{"amount": amount, **ten_days}]}
        variants.append((await client.made(f"/v1/plans/{key}/variants", body))["plan_variant_id"])
    assert (await client.post("/v1/test-clock/freeze", {})).status_code == 200
    made = await client.made("/v1/subscriptions", {"end_user_id": "acme", "plan_variant_id": variants[0]})
    assert (await client.post("/v1/test-clock/advance", {"by_seconds": 5 * 86_400})).status_code == 200
    path = f"/v1/subscriptions/{made['subscription_id']}/change/preview"
    answer = await client.post(path, {"plan_variant_id": variants[1]})
    assert answer.json()["credits_granted"] == 2_000
