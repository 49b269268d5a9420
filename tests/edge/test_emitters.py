"""What emitters written for OpenMeter put on the wire is taken in when they are given our address, once."""

import json
from typing import Any
from uuid import uuid4

import pytest
from msgspec import structs

from app.rules.credits import MICRO
from app.rules.pricing import PerUnitPrice, always
from app.wire.snapshot import FeatureTerms, PlanSnapshot
from tests.edge.test_ingesting import MANY, ONE, recorded
from tests.edge.test_usage import moment
from tests.edge.world import PRICE_ID, Answer, Tenant

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATH = "/api/v1/events"


def token_plan(tenant: Tenant) -> PlanSnapshot:
    """Total, prompt and completion tokens, each a feature of its own, and prompts by their `tokens`."""
    names = ("total_tokens", "prompt_tokens", "completion_tokens", "prompts")
    terms = FeatureTerms(always(PRICE_ID, PerUnitPrice(MICRO, per=1000)), included=True)
    plan = tenant.plan(**dict.fromkeys(names, terms))
    litellm: dict[str, str | None] = {name: name for name in names[:3]}
    return structs.replace(plan, event_types={"litellm_tokens": litellm, "prompt": {"prompts": "tokens"}})


async def post(tenant: Tenant, kind: str, body: str) -> Answer:
    """The bytes as the emitter sends them."""
    return await tenant.send("POST", PATH, data=body.encode(), headers={"Content-Type": kind})


def litellm(data: dict[str, Any], call_id: str = "chatcmpl-7") -> str:
    """The body of LiteLLM's `openmeter` callback, member by member in its order."""
    return json.dumps(
        {
            "specversion": "1.0",
            "type": "litellm_tokens",
            "id": call_id,
            "time": moment(-1),
            "subject": "user_1",
            "source": "litellm-proxy",
            "data": data,
        }
    )


async def test_litellm(tenant: Tenant) -> None:
    """Its callback takes any 2xx and raises for the rest; the same call twice is recorded once for each feature."""
    await tenant.seed("user_1", 1000, token_plan(tenant))
    usage = {"prompt_tokens": 1200, "completion_tokens": 300, "total_tokens": 1500}
    body = litellm({"model": "small-7b", "cost": 4.25e-05, **usage})
    assert (await post(tenant, ONE, body)).status == 204
    again = await post(tenant, ONE, body)
    assert (again.status, again.headers["Idempotent-Replayed"]) == (204, "true")
    assert {feature: micro // MICRO for feature, micro, _ in await recorded(tenant)} == usage
    assert len(await recorded(tenant)) == 3
    assert {text for _, _, text in await recorded(tenant)} == {json.dumps(json.loads(body)["data"])}
    assert (await tenant.check("user_1", "total_tokens")).body["balance"] == 997


async def test_litellm_of_an_embedding_that_costs_nothing(tenant: Tenant) -> None:
    """No completion, no cost, no model: nulls and zeros are no errors."""
    await tenant.seed("user_1", 1000, token_plan(tenant))
    data = {"model": None, "cost": None, "prompt_tokens": 8, "completion_tokens": 0, "total_tokens": 8}
    assert (await post(tenant, ONE, litellm(data))).status == 204
    assert sorted(feature for feature, _, _ in await recorded(tenant)) == ["prompt_tokens", "total_tokens"]


async def test_litellm_of_a_call_without_tokens(tenant: Tenant) -> None:
    """A picture, say: its callback logs what we answer, which names the member that is not there."""
    await tenant.seed("user_1", 1000, token_plan(tenant))
    answer = await post(tenant, ONE, litellm({"model": "painter", "cost": 0.04}))
    assert (answer.status, answer.body["code"]) == (422, "invalid_units")
    assert [error["field"] for error in answer.body["errors"]] == ["data.completion_tokens"]
    assert await recorded(tenant) == []


async def test_the_sdk_for_javascript(tenant: Tenant) -> None:
    """It sends a batch, of one too, with milliseconds and its own source; numbers may be texts."""
    await tenant.seed("user_1", 1000, token_plan(tenant))
    event = {"type": "prompt", "subject": "user_1", "data": {"tokens": "1500", "model": "m", "type": "input"}}
    filled = {**event, "id": str(uuid4()), "source": "@openmeter/sdk", "specversion": "1.0", "time": moment(-1)}
    body = json.dumps([filled], separators=(",", ":"))
    for _ in range(2):
        assert (await post(tenant, MANY, body)).status == 204
    assert [(feature, micro) for feature, micro, _ in await recorded(tenant)] == [("prompts", 1500 * MICRO)]


async def test_the_collector(tenant: Tenant) -> None:
    """It sends one event alone or many together, retries the whole unless it hears 204, and orders members by name."""
    await tenant.seed("user_1", 1000, token_plan(tenant))
    events = [
        {
            "data": {"duration_ms": 12.5, "tokens": 10 * (number + 1)},
            "datacontenttype": "application/json",
            "id": str(uuid4()),
            "source": "kubernetes-api",
            "specversion": "1.0",
            "subject": "user_1",
            "time": moment(-5),
            "type": "prompt",
        }
        for number in range(3)
    ]
    for _ in range(2):
        assert (await post(tenant, ONE, json.dumps(events[0]))).status == 204
        assert (await post(tenant, MANY, json.dumps(events) + "\n")).status == 204
    assert [micro // MICRO for _, micro, _ in await recorded(tenant)] == [10, 20, 30]


async def test_the_sdk_for_python(tenant: Tenant) -> None:
    """One event or a list of them as plain JSON, with attributes that are null."""
    await tenant.seed("user_1", 1000, token_plan(tenant))
    event = {
        "specversion": "1.0",
        "id": str(uuid4()),
        "source": "my-app",
        "type": "prompt",
        "subject": "user_1",
        "time": moment(-1),
        "datacontenttype": None,
        "dataschema": None,
        "data": {"tokens": 100, "model": "m"},
    }
    for body in (event, [event], [event, {**event, "id": str(uuid4()), "time": None}]):
        assert (await post(tenant, "application/json", json.dumps(body))).status == 204
    assert [micro // MICRO for _, micro, _ in await recorded(tenant)] == [100, 100]
