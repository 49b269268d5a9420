"""CloudEvents at `POST /v1/usage`: one event becomes usage of every feature that reads its type."""

import asyncio
import io
from typing import Any

import msgspec
import pytest
from msgspec import structs

from app.metering.service import MAX_READERS
from app.rules.credits import MICRO
from app.rules.pricing import FlatPrice, PriceVersion, Rate, always
from app.wire import keys
from app.wire.events import StreamEntry, parse_entry
from app.wire.snapshot import FeatureTerms, PlanSnapshot
from edge.ingesting import MAX_UNDER_WAY
from edge.routes import BODY_LIMITS
from tests.edge.test_usage import moment
from tests.edge.world import PRICE_ID, WINDOW_SECONDS, Answer, Tenant, asked_twice, now_at
from tests.waiting import wait_until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATH = "/v1/usage"
ONE = "application/cloudevents+json"
MANY = "application/cloudevents-batch+json"
EVENT_TYPES: dict[str, dict[str, str | None]] = {
    "call": {"api_calls": None},
    "picture": {"image": None, "unpriced": None},
    "llm": {"tokens": "usage.total", "api_calls": "usage.calls", "lenient": None},
}


def reading(tenant: Tenant, event_types: dict[str, dict[str, str | None]] | None = None) -> PlanSnapshot:
    """The usual plan, with features that read events."""
    return structs.replace(tenant.plan(), event_types=EVENT_TYPES if event_types is None else event_types)


def cloud_event(**changed: Any) -> dict[str, Any]:
    """An event of user_1."""
    return {"specversion": "1.0", "id": "1", "source": "app", "type": "call", "subject": "user_1", **changed}


async def emit(tenant: Tenant, events: Any, kind: str | None = None, path: str = PATH, **headers: str) -> Answer:
    """POST one event, or a list of them."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    head = {"Content-Type": kind or (MANY if isinstance(events, list) else ONE), **named}
    return await tenant.send("POST", path, data=io.BytesIO(msgspec.json.encode(events)), headers=head)


async def recorded(tenant: Tenant, end_user_id: str = "user_1") -> list[tuple[str, int, str | None]]:
    """Feature, micro-units and properties of what is in the streams."""
    entries = [parse_entry(b"1-1", fields) for fields in await tenant.entries(end_user_id)]
    payloads = [entry.payload for entry in entries if isinstance(entry, StreamEntry) and entry.payload is not None]
    return [(payload.feature_key, payload.units_micro, payload.properties) for payload in payloads]


# ---- one event


async def test_an_event_is_the_usage_that_it_says(tenant: Tenant) -> None:
    """202 with the usual body; to the ledger it is the same as usage in our own form, under the same id."""
    await tenant.seed("user_1", 1000, reading(tenant))
    time = moment(-60)
    answer = await emit(tenant, cloud_event(time=time, data={"units": "2.5", "model": "m"}))
    assert answer.status == 202
    assert {**answer.body, "event_id": ""} == {
        "event_id": "",
        "accepted": True,
        "cost": 2.5,
        "balance": 997.5,
        "overage": 0,
    }
    (fields,) = await tenant.entries("user_1")
    same = {"units": 2.5, "timestamp": time, "idempotency_key": "app 1", "properties": {"units": "2.5", "model": "m"}}
    as_usage = await tenant.send(
        "POST",
        PATH,
        data=msgspec.json.encode({"end_user_id": "user_1", "feature_key": "api_calls", **same}),
        headers={"Content-Type": "application/json"},
    )
    assert (as_usage.raw, as_usage.headers["Idempotent-Replayed"]) == (answer.raw, "true")
    assert await tenant.entries("user_1") == [fields]


async def test_again_is_a_replay_and_changed_is_refused(tenant: Tenant) -> None:
    """The same source and id: the same answer, byte for byte; with other units 422; each source has ids of its own."""
    await tenant.seed("user_1", 1000, reading(tenant))
    first = await emit(tenant, cloud_event(data={"units": 2}))
    again = await asyncio.gather(
        *(emit(tenant, cloud_event(data={"units": 2}), Idempotency_Key="x") for _ in range(20))
    )
    assert {answer.raw for answer in again} == {first.raw}
    assert {answer.headers["Idempotent-Replayed"] for answer in again} == {"true"}
    changed = await emit(tenant, cloud_event(data={"units": 3}))
    assert (changed.status, changed.body["code"]) == (422, "idempotency_key_reused")
    assert changed.body["mismatch"] == ["units", "properties"]
    assert (await emit(tenant, cloud_event(source="other", data={"units": 2}))).body["balance"] == 996
    assert len(await tenant.entries("user_1")) == 2


async def test_several_features_read_one_event(tenant: Tenant) -> None:
    """A result for each, by key; twice is once."""
    await tenant.seed("user_1", 1000, reading(tenant))
    data = {"usage": {"total": 2000, "calls": "1"}}
    answer = await emit(tenant, cloud_event(type="llm", data=data))
    assert answer.status == 202
    shown = [
        (result["feature_key"], result["index"], result["status"], result["cost"], result["balance"])
        for result in answer.body["results"]
    ]
    assert shown == [
        ("api_calls", 0, "accepted", 1, 999),
        ("lenient", 0, "accepted", 1, 998),
        ("tokens", 0, "accepted", 6, 992),
    ]
    assert len({result["event_id"] for result in answer.body["results"]}) == 3
    again = await emit(tenant, cloud_event(type="llm", data=data))
    assert [result["replayed"] for result in again.body["results"]] == [True] * 3
    text = msgspec.json.encode(data).decode()
    assert await recorded(tenant) == [
        ("api_calls", MICRO, text),
        ("lenient", MICRO, text),
        ("tokens", 2000 * MICRO, text),
    ]


async def test_a_price_may_look_at_the_data(tenant: Tenant) -> None:
    """What an event says beside its units is its properties, by which it is priced."""
    dear = Rate([PriceVersion(0, PRICE_ID, FlatPrice(9 * MICRO))], {"model": "large"})
    terms = FeatureTerms([dear, *always(PRICE_ID, FlatPrice(MICRO))], included=True)
    plan = structs.replace(tenant.plan(api_calls=terms), event_types={"call": {"api_calls": None}})
    await tenant.seed("user_1", 100, plan)
    costs = [
        (await emit(tenant, cloud_event(id=name, data={"model": name}))).body["cost"] for name in ("large", "small")
    ]
    assert costs == [9, 1]


async def test_no_units_are_recorded_as_nothing(tenant: Tenant) -> None:
    """202 with the balance and without an event, alone as beside others."""
    await tenant.seed("user_1", 10, reading(tenant))
    answer = await emit(tenant, cloud_event(data={"units": 0}))
    assert (answer.status, answer.body) == (
        202,
        {"event_id": None, "accepted": True, "cost": 0, "balance": 10, "overage": 0},
    )
    answer = await emit(tenant, cloud_event(type="llm", data={"usage": {"total": 0, "calls": 1}, "units": 0}))
    shown = [(result["status"], result["event_id"] is None) for result in answer.body["results"]]
    assert shown == [("accepted", False), ("skipped", True), ("skipped", True)]
    assert [feature for feature, _, _ in await recorded(tenant)] == ["api_calls"]


async def test_what_one_feature_cannot_read_another_may(tenant: Tenant) -> None:
    """The refused results name the member, or say that there is no price; the others are recorded."""
    await tenant.seed("user_1", 100, reading(tenant))
    answer = await emit(tenant, cloud_event(type="llm", data={"usage": {"total": -1}}))
    assert answer.status == 202
    codes = [(result["feature_key"], result["code"]) for result in answer.body["results"]]
    assert codes == [("api_calls", "invalid_units"), ("lenient", None), ("tokens", "invalid_units")]
    assert answer.body["results"][0]["detail"] == "data.usage.calls is required; 'api_calls' reads its units there."
    pictures = await emit(tenant, cloud_event(type="picture"))
    codes = [(result["feature_key"], result["code"]) for result in pictures.body["results"]]
    assert codes == [("image", None), ("unpriced", "feature_not_in_plan")]
    assert [feature for feature, _, _ in await recorded(tenant)] == ["lenient", "image"]


async def test_what_no_feature_can_read_is_refused_as_a_whole(tenant: Tenant) -> None:
    """One event of which nothing is recorded gets a problem document: that of its first feature."""
    await tenant.seed("user_1", 100, reading(tenant, {"t": {"api_calls": "calls", "tokens": "n"}}))
    answer = await emit(tenant, cloud_event(type="t", data={"other": 1}))
    assert (answer.status, answer.body["code"]) == (422, "invalid_units")
    assert [error["field"] for error in answer.body["errors"]] == ["data.calls"]
    assert await recorded(tenant) == []


@pytest.mark.parametrize(
    ("changed", "status", "code", "fields"),
    [
        ({"type": "unheard"}, 404, "unknown_event_type", ["type"]),
        ({"subject": "nobody"}, 404, "unknown_customer", []),
        ({"specversion": "0.3"}, 422, "invalid_value", ["specversion"]),
        ({"data_base64": "MQ=="}, 422, "invalid_value", ["data_base64"]),
        ({"data": {"units": "many"}}, 422, "invalid_units", ["data.units"]),
        ({"data": {"units": 10**9}, "type": "picture2"}, 404, "unknown_event_type", ["type"]),
    ],
)
async def test_events_that_are_refused(
    tenant: Tenant, changed: dict[str, Any], status: int, code: str, fields: list[str]
) -> None:
    """A problem document that names the attribute; in a batch the same code, beside what is recorded."""
    await tenant.seed("user_1", 100, reading(tenant))
    answer = await emit(tenant, cloud_event(**changed))
    assert (answer.status, answer.body["code"]) == (status, code)
    assert [error["field"] for error in answer.body.get("errors", [])] == fields
    assert await recorded(tenant) == []
    results = (await emit(tenant, [cloud_event(id="2"), cloud_event(**changed)])).body["results"]
    assert [(result["index"], result["status"], result["code"]) for result in results] == [
        (0, "accepted", None),
        (1, "rejected", code),
    ]
    assert results[1]["detail"] == answer.body["detail"]


@pytest.mark.parametrize(("seconds", "status"), [(-WINDOW_SECONDS - 5, 422), (-WINDOW_SECONDS + 30, 202), (305, 422)])
async def test_the_time_of_an_event(tenant: Tenant, seconds: int, status: int) -> None:
    """Within the window, or refused by its name."""
    await tenant.seed("user_1", 100, reading(tenant))
    answer = await emit(tenant, cloud_event(time=moment(seconds)))
    assert answer.status == status
    if status == 422:
        assert answer.body["code"] == "timestamp_out_of_range"
        assert "of a CloudEvent: time" in answer.body["detail"]


# ---- batches


async def test_a_batch_has_its_results_in_order(tenant: Tenant) -> None:
    """By event, then by feature; one that cannot be read harms no other; the whole again is a replay."""
    await tenant.seed("user_1", 1000, reading(tenant))
    await tenant.seed("user_2", 1000, reading(tenant))
    events = [
        cloud_event(id="1", type="llm", data={"usage": {"total": 1000, "calls": 0}}),
        7,
        cloud_event(id="2", subject="user_2"),
        cloud_event(id="1", type="llm", data={"usage": {"total": 1000, "calls": 0}}),
    ]
    first = await emit(tenant, events)
    assert first.status == 202
    shown = [(result["index"], result["feature_key"], result["status"]) for result in first.body["results"]]
    llm = [("api_calls", "skipped"), ("lenient", "accepted"), ("tokens", "accepted")]
    assert shown == [
        *((0, *one) for one in llm),
        (1, None, "rejected"),
        (2, "api_calls", "accepted"),
        *((3, *one) for one in llm),
    ]
    assert [result["replayed"] for result in first.body["results"]][5:] == [False, True, True]
    again = await emit(tenant, events)
    accepted = [result for result in again.body["results"] if result["status"] == "accepted"]
    assert all(result["replayed"] for result in accepted)
    assert len(await recorded(tenant)) == 2
    assert len(await recorded(tenant, "user_2")) == 1


async def test_a_large_batch_keeps_its_order(tenant: Tenant) -> None:
    """A thousand events, each read by two features, are in the stream as they were in the batch."""
    await tenant.seed("user_1", 1_000_000, reading(tenant, {"t": {"api_calls": None, "lenient": "n"}}))
    events = [cloud_event(id=str(number), type="t", data={"n": number + 1}) for number in range(1000)]
    assert (await emit(tenant, cloud_event(id="first", type="t", data={"n": 1}))).status == 202
    answer = await emit(tenant, events)
    assert [result["status"] for result in answer.body["results"]] == ["accepted"] * 2000
    units = [micro for feature, micro, _ in await recorded(tenant) if feature == "lenient"]
    assert units == [MICRO] + [(number + 1) * MICRO for number in range(1000)]


async def test_a_batch_that_becomes_ten_thousand_events(tenant: Tenant) -> None:
    """Five hundred events, each read by twenty features, do not overwhelm Redis: the next follow as the first end."""
    names = [f"f{number:02}" for number in range(MAX_READERS)]
    terms = FeatureTerms(always(PRICE_ID, FlatPrice(MICRO)), included=True)
    features = tenant.plan().features | dict.fromkeys(names, terms)
    plan = structs.replace(tenant.plan(), features=features, event_types={"t": dict.fromkeys(names)})
    await tenant.seed("user_1", 1_000_000, plan)
    events = [cloud_event(id=str(number), type="t", data={"x": "y" * 3000}) for number in range(500)]
    assert (await emit(tenant, events, path="/api/v1/events")).status == 204
    assert (await tenant.check("user_1")).body["balance"] == 1_000_000 - 500 * MAX_READERS


async def test_an_empty_batch(tenant: Tenant) -> None:
    """The specification allows it, and nothing comes of it."""
    answer = await emit(tenant, [])
    assert (answer.status, answer.body) == (202, {"results": []})


async def test_one_passing_refusal_has_the_whole_sent_again(tenant: Tenant) -> None:
    """503 for all where one customer cannot be answered now; then each is there once."""
    await tenant.seed("user_1", 100, reading(tenant))

    async def busy(_: object) -> str:
        return "busy"

    tenant.world.core.answers["accounts"] = busy
    events = [cloud_event(id="1"), cloud_event(id="2", subject="user_2")]
    answer = await emit(tenant, events)
    assert (answer.status, answer.body["code"], answer.headers["Retry-After"]) == (503, "account_loading", "1")
    await tenant.seed("user_2", 100, reading(tenant))
    again = await emit(tenant, events)
    assert [result["status"] for result in again.body["results"]] == ["accepted"] * 2
    assert len(await recorded(tenant)) == len(await recorded(tenant, "user_2")) == 1


async def test_what_is_to_be_sent_again_is_not_begun(tenant: Tenant) -> None:
    """A thousand customers, none of whom can be answered now: the first 503 ends the request."""

    async def busy(_: object) -> str:
        return "busy"

    tenant.world.core.answers["accounts"] = busy
    answer = await emit(tenant, [cloud_event(subject=f"user_{number}") for number in range(1000)])
    assert (answer.status, answer.body["code"]) == (503, "account_loading")
    assert 0 < len(tenant.world.core.asked) <= MAX_UNDER_WAY


@pytest.mark.parametrize(
    ("kind", "body", "status", "code"),
    [
        (ONE, [cloud_event()], 400, "invalid_body"),
        (MANY, cloud_event(), 400, "invalid_body"),
        (MANY, [cloud_event()] * 1001, 422, "batch_too_large"),
        ("application/cloudevents+avro", cloud_event(), 415, "unsupported_media_type"),
        ("application/cloudevents", cloud_event(), 415, "unsupported_media_type"),
        ("application/json", cloud_event(), 400, "unknown_field"),
    ],
)
async def test_other_bodies(tenant: Tenant, kind: str, body: Any, status: int, code: str) -> None:
    """Refused as what they are, and nothing is recorded."""
    await tenant.seed("user_1", 100, reading(tenant))
    answer = await emit(tenant, body, kind)
    assert (answer.status, answer.body["code"]) == (status, code)
    assert await recorded(tenant) == []


async def test_the_kind_of_body_by_any_of_its_names(tenant: Tenant) -> None:
    """Parameters and capitals do not matter; a query and a coding are refused as everywhere."""
    await tenant.seed("user_1", 100, reading(tenant))
    assert (await emit(tenant, cloud_event(), "Application/CloudEvents+JSON; charset=UTF-8")).status == 202
    plain = {"end_user_id": "user_1", "feature_key": "api_calls"}
    assert (await emit(tenant, plain, "application/json; profile=cloudevents")).status == 202
    assert (await emit(tenant, cloud_event(), path=f"{PATH}?a=1")).body["code"] == "unknown_field"
    assert (await emit(tenant, cloud_event(), Content_Encoding="gzip")).body["code"] == "unsupported_media_type"


async def test_the_key_needs_its_scope(tenant: Tenant) -> None:
    """A key that may only check records nothing."""
    other = await tenant.world.tenant("entitlements:read")
    for path in (PATH, "/api/v1/events"):
        assert (await emit(other, cloud_event(), path=path)).status == 403


# ---- what can stand in the way


async def test_an_account_that_is_not_loaded(tenant: Tenant) -> None:
    """It is loaded first; the plan too, where Redis has lost it."""
    released = asyncio.Event()

    async def load(question: dict[str, Any]) -> str:
        await released.wait()
        snapshot_id = await tenant.seed(question["end_user_id"], 1000, reading(tenant))
        content = await tenant.world.redis.getdel(keys.plan(snapshot_id))

        async def load_plan(_: object) -> str:
            await tenant.world.redis.set(keys.plan(snapshot_id), content)
            return "loaded"

        tenant.world.core.answers["plans"] = load_plan
        return "loaded"

    tenant.world.core.answers["accounts"] = load
    answering = asyncio.create_task(emit(tenant, cloud_event()))

    async def is_asked() -> bool:
        return bool(tenant.world.core.asked)

    await wait_until_async(is_asked, 5, "core is asked")
    released.set()
    assert (await answering).body["balance"] == 999


async def test_an_account_at_its_boundary(tenant: Tenant) -> None:
    """The type is resolved by what holds after the boundary."""
    await tenant.seed("user_1", 1000, reading(tenant, {}), valid_until=now_at() - 1)
    answering = asyncio.ensure_future(asked_twice(lambda: emit(tenant, cloud_event())))
    await wait_until_async(lambda: tenant.entries("user_1"), 5, "a tick is left")
    snapshot_id = await tenant.put_plan(reading(tenant))
    after = {"revision": 4, "snapshot": snapshot_id, "valid_until": now_at() + 60 * MICRO}
    await tenant.world.redis.hset(tenant.account_key("user_1"), mapping=after)
    assert (await answering).status == 202


async def test_what_reads_a_type_is_known_at_once(tenant: Tenant) -> None:
    """A worker that remembers another plan resolves by the one that the account has now."""
    await tenant.seed("user_1", 1000, reading(tenant, {}))
    for _ in range(8):  # both workers come to know the plan
        assert (await tenant.use("user_1")).status == 202
    await tenant.seed("user_1", 1000, reading(tenant))
    statuses = [(await emit(tenant, cloud_event(id=str(number)))).status for number in range(8)]
    assert statuses == [202] * 8
    await tenant.seed("user_1", 1000, reading(tenant, {}))
    statuses = [(await emit(tenant, cloud_event(id=f"b{number}"))).status for number in range(8)]
    assert statuses == [404] * 8


# ---- POST /api/v1/events


async def test_emitters_are_told_that_all_is_done(tenant: Tenant) -> None:
    """204 without a body for one event, for a batch, and for either as plain JSON; a repeat says so in the head."""
    await tenant.seed("user_1", 1000, reading(tenant))
    path = "/api/v1/events"
    bodies: list[tuple[Any, str]] = [
        (cloud_event(id="1"), ONE),
        ([cloud_event(id="2"), cloud_event(id="3", type="llm", data={"usage": {"total": 0, "calls": 1}})], MANY),
        (cloud_event(id="4"), "application/json"),
        ([cloud_event(id="5")], "application/json; charset=utf-8"),
        ([], MANY),
    ]
    for body, kind in bodies:
        answer = await emit(tenant, body, kind, path)
        assert (answer.status, answer.raw) == (204, b"")
        assert not answer.headers.keys() & {"Content-Length", "Content-Type", "Idempotent-Replayed"}
        again = await emit(tenant, body, kind, path)
        assert again.status == 204
        assert again.headers.get("Idempotent-Replayed") == ("true" if body else None)
    assert len(await recorded(tenant)) == 6


async def test_emitters_are_told_what_is_not_done(tenant: Tenant) -> None:
    """One refused event is a problem document; a batch with one in it has all its results."""
    await tenant.seed("user_1", 1000, reading(tenant))
    path = "/api/v1/events"
    one = await emit(tenant, cloud_event(type="unheard"), path=path)
    assert (one.status, one.body["code"]) == (404, "unknown_event_type")
    many = await emit(tenant, [cloud_event(), cloud_event(type="unheard")], path=path)
    assert (many.status, [result["status"] for result in many.body["results"]]) == (202, ["accepted", "rejected"])
    other = await emit(tenant, cloud_event(), "text/plain", path)
    assert (other.status, other.body["code"]) == (415, "unsupported_media_type")
    assert (await tenant.send("GET", path)).status == 405


async def test_a_batch_may_be_as_large_as_our_own(tenant: Tenant) -> None:
    """Four mebibytes at /api/v1/events, one at /v1/usage."""
    await tenant.seed("user_1", 10_000, reading(tenant))
    assert BODY_LIMITS[b"/api/v1/events"] == BODY_LIMITS[b"/v1/usage/batch"]
    events = [cloud_event(id=str(number), data={"x": "y" * 3000}) for number in range(1000)]
    assert (await emit(tenant, events, path="/api/v1/events")).status == 204
    assert (await emit(tenant, events)).status == 413


async def test_nothing_follows_a_204_but_the_next_answer(tenant: Tenant) -> None:
    """Two requests in one write are answered by two heads."""
    await tenant.seed("user_1", 10, reading(tenant))
    body = msgspec.json.encode(cloud_event())
    head = tenant.head("POST /api/v1/events HTTP/1.1", f"Content-Type: {ONE}", f"Content-Length: {len(body)}")
    reader, writer = await asyncio.open_connection("127.0.0.1", tenant.world.edge.port)
    writer.write((head + body) * 2 + tenant.head("GET /livez HTTP/1.1", "Connection: close"))
    async with asyncio.timeout(10):
        received = await reader.read()
        while b"alive" not in received:
            received += await reader.read()
    writer.close()
    statuses = [line.split()[1] for line in received.split(b"\r\n") if line.startswith(b"HTTP/1.1")]
    assert statuses == [b"204", b"204", b"200"]
    assert received.count(b"\r\n\r\n") == 3
