"""`POST /v1/usage/batch`: results in order, each event on its own, a retry of the whole is safe."""

import io
import json
from typing import Any

import aiohttp
import msgspec
import pytest

from app.wire import ids
from app.wire.events import StreamEntry, parse_entry
from tests.edge.world import Tenant

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATH = "/v1/usage/batch"


def event(**changed: Any) -> dict[str, Any]:
    """A usage event of user_1."""
    return {"end_user_id": "user_1", "feature_key": "api_calls", **changed}


async def test_results_are_in_order(tenant: Tenant) -> None:
    """Good, bad and refused side by side: one bad event never harms the others."""
    await tenant.seed("user_1", 10)
    await tenant.seed("user_2", 10)
    answer = await tenant.batch(
        [
            event(units=2, idempotency_key="a"),
            {"end_user_id": "user_1"},
            event(units=3, end_user_id="user_2", idempotency_key="b"),
            event(units=100, enforce=True, idempotency_key="c"),
            event(units=2, idempotency_key="a"),
            event(units=3, idempotency_key="a"),
            event(end_user_id="nobody"),
            event(feature_key="no-such"),
            7,
            event(units=0),
        ]
    )
    assert answer.status == 202
    results = answer.body["results"]
    nothing = {"event_id": None, "cost": None, "balance": None, "overage": None}
    assert results[0] == {
        "status": "accepted",
        "replayed": False,
        "event_id": ids.show("evt", ids.derived_id(tenant.ref, b"user_1", b"usage", b"api_calls", b"a")),
        "cost": 2,
        "balance": 8,
        "overage": 0,
        "code": None,
        "detail": None,
    }
    assert results[1] == {
        "status": "rejected",
        "replayed": False,
        "code": "invalid_body",
        "detail": "feature_key is required.",
        **nothing,
    }
    assert (results[2]["status"], results[2]["balance"]) == ("accepted", 7)
    refused = {name: results[3][name] for name in ("status", "code", "cost", "balance")}
    assert refused == {"status": "rejected", "code": "insufficient_credits", "cost": 100, "balance": 8}
    assert results[4] == {**results[0], "replayed": True}
    codes = [result["code"] for result in results[5:]]
    expected = ["idempotency_key_reused", "unknown_customer", "unknown_feature", "invalid_body", "invalid_units"]
    assert codes == expected
    assert all(result["status"] == "rejected" for result in results[5:])


async def test_a_thousand_events_of_one_customer_keep_their_order(tenant: Tenant) -> None:
    """The entries stand in the stream as they stood in the batch, once the worker knows the customer's plan."""
    await tenant.seed("user_1", 10_001)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
        same_worker = tenant.on(session)
        assert (await same_worker.use("user_1")).status == 202
        answer = await same_worker.batch([event(idempotency_key=f"k{number}") for number in range(1000)])
    assert [result["balance"] for result in answer.body["results"]] == [9_999 - number for number in range(1000)]
    entries = [parse_entry(b"1-1", fields) for fields in await tenant.entries("user_1")][1:]
    sent = [entry.payload.idempotency_key for entry in entries if isinstance(entry, StreamEntry) and entry.payload]
    assert sent == [f"k{number}" for number in range(1000)]


async def test_retrying_the_whole_batch_is_safe(tenant: Tenant) -> None:
    """With keys of their own or numbered from the header's, the second time everything is a replay."""
    await tenant.seed("user_1", 100)
    events = [event(units=1), event(units=2, idempotency_key="own"), event(units=3)]
    first = await tenant.batch(events, Idempotency_Key="head")
    again = await tenant.batch(events, Idempotency_Key="head")
    assert [result["replayed"] for result in again.body["results"]] == [True] * 3
    assert [{**result, "replayed": False} for result in again.body["results"]] == first.body["results"]
    numbered = ids.derived_id(tenant.ref, b"user_1", b"usage", b"api_calls", b"head:2")
    assert first.body["results"][2]["event_id"] == ids.show("evt", numbered)
    assert len(await tenant.entries("user_1")) == 3


async def test_the_key_of_the_head_does_not_clash_with_keys_of_events(tenant: Tenant) -> None:
    """The header's key serves events without one; it is not compared with the others'."""
    await tenant.seed("user_1", 100)
    answer = await tenant.batch([event(idempotency_key="own")], Idempotency_Key="head")
    assert answer.body["results"][0]["status"] == "accepted"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"events": []}, 422, "invalid_value"),
        ({"events": [event()] * 1001}, 422, "batch_too_large"),
        ({"events": {}}, 400, "invalid_body"),
        ({}, 400, "invalid_body"),
        ([event()], 400, "invalid_body"),
        ({"events": [event()], "more": 1}, 400, "unknown_field"),
    ],
)
async def test_what_is_no_batch(tenant: Tenant, body: Any, status: int, code: str) -> None:
    """The whole is refused, and nothing of it recorded."""
    await tenant.seed("user_1", 10)
    answer = await tenant.send("POST", PATH, json=body)
    assert (answer.status, answer.body["code"]) == (status, code)
    assert await tenant.entries("user_1") == []


async def test_broken_json_anywhere_is_the_batch_s(tenant: Tenant) -> None:
    """A body that is no JSON has no events."""
    text = b'{"events": [' + json.dumps(event()).encode() + b", {]}"
    answer = await tenant.send("POST", PATH, data=text, headers={"Content-Type": "application/json"})
    assert (answer.status, answer.body["code"]) == (400, "malformed_json")


async def test_a_batch_may_be_larger_than_an_event(tenant: Tenant) -> None:
    """3 MiB are fine here, and too much for one event."""
    await tenant.seed("user_1", 10_000)
    events = [event(properties={"x": "y" * 3000}) for _ in range(1000)]
    answer = await tenant.batch(events)
    assert {result["status"] for result in answer.body["results"]} == {"accepted"}
    text = io.BytesIO(msgspec.json.encode({"events": events}))
    single = await tenant.send("POST", "/v1/usage", data=text, headers={"Content-Type": "application/json"})
    assert (single.status, single.body["code"]) == (413, "body_too_large")
