"""`POST /v1/usage`: what is taken in, remembered, replayed and refused."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from app.rules.credits import MICRO
from app.rules.pricing import PerUnitPrice, always
from app.rules.totals import MAX_DISTANCE
from app.wire import ids, keys
from app.wire.events import StreamEntry, parse_entry
from app.wire.snapshot import FeatureTerms
from tests.edge.world import PRICE_ID, WINDOW_SECONDS, Tenant, now_at
from tests.waiting import wait_until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATH = "/v1/usage"


def moment(seconds: float) -> str:
    """So many seconds from now, as RFC 3339."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def test_an_event_is_taken_in(tenant: Tenant) -> None:
    """202 with the cost and what is left, and one entry with everything that the ledger needs."""
    await tenant.seed("user_1", 1000)
    occurred = datetime.now(UTC) - timedelta(seconds=60)
    before = now_at()
    answer = await tenant.use(
        "user_1",
        "tokens",
        units=1500.5,
        idempotency_key="call-1",
        timestamp=occurred.isoformat(),
        properties={"model": "größe-7b"},
    )
    event_id = ids.derived_id(tenant.ref, b"user_1", b"usage", b"tokens", b"call-1")
    assert answer.status == 202
    assert answer.body == {
        "event_id": ids.show("evt", event_id),
        "accepted": True,
        "cost": 4.5015,
        "balance": 995.4985,
        "overage": 0,
    }
    assert "Idempotent-Replayed" not in answer.headers
    (fields,) = await tenant.entries("user_1")
    entry = parse_entry(b"1-1", fields)
    assert isinstance(entry, StreamEntry)
    assert entry.payload is not None
    assert (entry.kind, entry.revision, entry.cost_micro) == ("u", 3, 4_501_500)
    assert before <= entry.accepted_at <= now_at()
    payload = entry.payload
    assert (payload.event_id, payload.price_id) == (event_id, PRICE_ID)
    assert (payload.feature_key, payload.units_micro) == ("tokens", 1_500_500_000)
    assert payload.idempotency_key == "call-1"
    assert payload.occurred_at == round(occurred.timestamp() * MICRO)
    assert json.loads(payload.properties or "") == {"model": "größe-7b"}


async def test_units_default_to_one_and_a_key_is_made(tenant: Tenant) -> None:
    """Without a key every event is another."""
    await tenant.seed("user_1", 10)
    answers = [await tenant.use("user_1"), await tenant.use("user_1")]
    assert [answer.body["balance"] for answer in answers] == [9, 8]
    event_ids = [ids.parse("evt", answer.body["event_id"]) for answer in answers]
    assert event_ids[0] != event_ids[1]
    assert [event_id.version for event_id in event_ids] == [7, 7]


async def test_what_is_not_covered_is_overage(tenant: Tenant) -> None:
    """Usage is taken in whatever the balance; the rest is overage, and the balance is owed."""
    await tenant.seed("user_1", 10)
    body = (await tenant.use("user_1", units=15)).body
    assert (body["cost"], body["balance"], body["overage"]) == (15, -5, 5)
    body = (await tenant.use("user_1", units=2)).body
    assert (body["balance"], body["overage"]) == (-7, 2)


async def test_enforced_usage_is_refused_and_the_refusal_remembered(tenant: Tenant) -> None:
    """402 with what it costs and what is left; a replay says the same after a top-up, byte for byte."""
    await tenant.seed("user_1", 10)
    sent = {"units": 11, "enforce": True, "idempotency_key": "k"}
    first = await tenant.use("user_1", **sent)
    assert first.status == 402
    assert first.headers["Content-Type"] == "application/problem+json"
    assert first.body["code"] == "insufficient_credits"
    assert first.body["context"] == {"balance": 10, "cost": 11}
    assert first.body["instance"].startswith("evt_")
    await tenant.world.redis.hset(tenant.account_key("user_1"), "base", 1000 * MICRO)
    again = await tenant.use("user_1", **sent)
    assert (again.status, again.raw) == (402, first.raw)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert await tenant.entries("user_1") == []


@pytest.mark.parametrize(
    ("feature_key", "enforce", "status", "code"),
    [
        ("api_calls", True, 202, None),
        ("extra", False, 202, None),
        ("extra", True, 403, "feature_not_in_plan"),
        ("unpriced", False, 403, "feature_not_in_plan"),
        ("unpriced", True, 403, "feature_not_in_plan"),
        ("no-such", False, 404, "unknown_feature"),
        ("no-such", True, 404, "unknown_feature"),
    ],
)
async def test_what_the_plan_says(tenant: Tenant, feature_key: str, enforce: bool, status: int, code: str) -> None:  # noqa: FBT001 - a column of the table
    """Not included is posted at the feature's price; only enforced usage minds. Without any price nothing can be."""
    await tenant.seed("user_1", 10)
    answer = await tenant.use("user_1", feature_key, enforce=enforce)
    assert (answer.status, answer.body.get("code")) == (status, code)
    assert len(await tenant.entries("user_1")) == (status == 202)


async def test_without_a_subscription(tenant: Tenant) -> None:
    """A feature without a default price cannot be used; the code says why."""
    await tenant.seed("user_1", 10, tenant.plan(subscribed=False))
    answer = await tenant.use("user_1", "unpriced")
    assert (answer.status, answer.body["code"]) == (403, "no_subscription")
    assert (await tenant.use("user_1", "extra", enforce=True)).status == 202


async def test_a_lenient_feature_is_never_refused(tenant: Tenant) -> None:
    """Policy notify: enforced usage beyond the balance is taken in, as overage."""
    await tenant.seed("user_1", 10)
    body = (await tenant.use("user_1", "lenient", units=12, enforce=True)).body
    assert (body["balance"], body["overage"]) == (-2, 2)


async def test_an_unknown_customer(tenant: Tenant) -> None:
    """404, whatever the feature."""
    answer = await tenant.use("nobody", "no-such")
    assert (answer.status, answer.body["code"]) == (404, "unknown_customer")


# ---- idempotency


async def test_a_replay_is_the_same_byte_for_byte(tenant: Tenant) -> None:
    """Whatever has happened since, wherever the key stands, and whatever the plan says by now."""
    await tenant.seed("user_1", 1000)
    first = await tenant.use("user_1", "tokens", units=7, idempotency_key="k")
    await tenant.use("user_1", "tokens", units=7)
    await tenant.seed("user_1", 5, tenant.plan(tokens=None))
    again = await tenant.use("user_1", "tokens", units=7, headers={"Idempotency-Key": "k"})
    assert (again.status, again.raw) == (202, first.raw)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(await tenant.entries("user_1")) == 2


@pytest.mark.parametrize(
    ("changed", "mismatch"),
    [
        ({"units": 8}, ["units"]),
        ({"enforce": True}, ["enforce"]),
        ({"properties": {"a": 2}}, ["properties"]),
        ({"timestamp": moment(-30)}, ["timestamp"]),
        ({"units": 7.000001, "properties": None}, ["units", "properties"]),
    ],
)
async def test_a_key_used_for_something_else(tenant: Tenant, changed: dict[str, Any], mismatch: list[str]) -> None:
    """422 that names what differs; nothing is recorded."""
    await tenant.seed("user_1", 1000)
    sent = {"units": 7, "idempotency_key": "k", "properties": {"a": 1}}
    await tenant.use("user_1", **sent)
    answer = await tenant.use("user_1", **{**sent, **changed})
    assert (answer.status, answer.body["code"]) == (422, "idempotency_key_reused")
    assert answer.body["mismatch"] == mismatch
    assert len(await tenant.entries("user_1")) == 1


async def test_one_key_serves_each_feature_and_customer_once(tenant: Tenant) -> None:
    """Its scope is environment, end user, operation and feature."""
    await tenant.seed("user_1", 1000)
    await tenant.seed("user_2", 1000)
    sent = [("user_1", "api_calls"), ("user_1", "tokens"), ("user_2", "api_calls")]
    answers = [await tenant.use(user, feature, idempotency_key="k") for user, feature in sent]
    assert [answer.status for answer in answers] == [202] * 3
    assert all("Idempotent-Replayed" not in answer.headers for answer in answers)
    assert len({answer.body["event_id"] for answer in answers}) == 3


async def test_a_thousand_twins_have_one_effect(tenant: Tenant) -> None:
    """1,000 requests with one key at once, over many connections and both workers: one entry, 1,000 equal answers."""
    await tenant.seed("user_1", 1000)
    answers = await asyncio.gather(*(tenant.use("user_1", units=3, idempotency_key="k") for _ in range(1000)))
    assert {(answer.status, answer.raw) for answer in answers} == {(202, answers[0].raw)}
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1
    assert len(await tenant.entries("user_1")) == 1
    assert (await tenant.check("user_1")).body["balance"] == 997


async def test_parallel_spends_never_go_below_the_floor(tenant: Tenant) -> None:
    """With 1,000 credits and 500 enforced spends of 10 at once, exactly 100 are accepted."""
    await tenant.seed("user_1", 1000)
    answers = await asyncio.gather(*(tenant.use("user_1", units=10, enforce=True) for _ in range(500)))
    assert sorted(answer.status for answer in answers) == [202] * 100 + [402] * 400
    assert (await tenant.check("user_1")).body["balance"] == 0


async def test_what_is_remembered_is_forgotten_after_the_window(tenant: Tenant) -> None:
    """The mark of a key lives as long as the idempotency window."""
    await tenant.seed("user_1", 10)
    answer = await tenant.use("user_1", idempotency_key="k")
    mark = keys.seen(
        tenant.partition("user_1"),
        keys.environment_ref(tenant.environment_id),
        ids.parse("evt", answer.body["event_id"]),
    )
    left_seconds = await tenant.world.redis.ttl(mark)
    assert WINDOW_SECONDS - 60 < left_seconds <= WINDOW_SECONDS


# ---- what is refused before anything is asked

GOOD = {"end_user_id": "user_1", "feature_key": "api_calls"}


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        (b"", "invalid_body", "none was sent"),
        (b"{", "malformed_json", "byte 1"),
        (b'{"end_user_id": "a",}', "malformed_json", "byte 20"),
        (b'{"end_user_id": "a", "feature_key": "b"} x', "malformed_json", "byte 42"),
        (b'{"end_user_id": "\xff"}', "malformed_json", "UTF-8"),
        (b'{"units": NaN}', "malformed_json", "byte 10"),
        (b'{"units": Infinity}', "malformed_json", "byte 10"),
        (b'{"units": -Infinity}', "malformed_json", "byte"),
        (b'{"units": 01}', "malformed_json", "byte"),
        (b'{"properties": ' + b"[" * 100_000, "malformed_json", "nested"),
        (b'{"units": ' + b"[" * 100_000, "malformed_json", "nested"),
        (b"[]", "invalid_body", "object"),
        (b"null", "invalid_body", "object"),
        (b'"x"', "invalid_body", "object"),
    ],
)
async def test_a_body_that_is_no_object_of_json(tenant: Tenant, text: bytes, code: str, says: str) -> None:
    """400 that says where."""
    answer = await tenant.send("POST", PATH, data=text, headers={"Content-Type": "application/json"})
    assert (answer.status, answer.body["code"]) == (400, code)
    assert says in answer.body["detail"]


@pytest.mark.parametrize(
    ("changed", "status", "code", "field"),
    [
        ({"end_user_id": None}, 400, "invalid_body", "end_user_id"),
        ({"end_user_id": 5}, 400, "invalid_body", "end_user_id"),
        ({"feature_key": ["a"]}, 400, "invalid_body", "feature_key"),
        ({"units": "1"}, 400, "invalid_body", "units"),
        ({"units": True}, 400, "invalid_body", "units"),
        ({"units": None}, 400, "invalid_body", "units"),
        ({"units": {}}, 400, "invalid_body", "units"),
        ({"enforce": 1}, 400, "invalid_body", "enforce"),
        ({"enforce": None}, 400, "invalid_body", "enforce"),
        ({"properties": []}, 400, "invalid_body", "properties"),
        ({"properties": "x"}, 400, "invalid_body", "properties"),
        ({"idempotency_key": 7}, 400, "invalid_body", "idempotency_key"),
        ({"timestamp": 7}, 400, "invalid_body", "timestamp"),
        ({"timestamp": "yesterday"}, 422, "invalid_value", "timestamp"),
        ({"timestamp": "2026-11-23T18:00:00"}, 422, "invalid_value", "timestamp"),
        ({"unit": 1}, 400, "unknown_field", "unit"),
        ({"event_id": "x"}, 400, "unknown_field", "event_id"),
        ({"units": 0}, 422, "invalid_units", "units"),
        ({"units": -1}, 422, "invalid_units", "units"),
        ({"units": -0.0}, 422, "invalid_units", "units"),
        ({"units": 0.1234567}, 422, "invalid_units", "units"),
        ({"units": 10**9 + 1}, 422, "invalid_units", "units"),
        ({"units": 10**30}, 422, "invalid_units", "units"),
        ({"end_user_id": ""}, 422, "invalid_value", "end_user_id"),
        ({"end_user_id": "x" * 257}, 422, "invalid_value", "end_user_id"),
        ({"end_user_id": "a\u0000b"}, 422, "invalid_value", "end_user_id"),
        ({"end_user_id": "a\u0085b"}, 422, "invalid_value", "end_user_id"),
        ({"feature_key": ""}, 422, "invalid_value", "feature_key"),
        ({"feature_key": "x" * 65}, 422, "invalid_value", "feature_key"),
        ({"idempotency_key": ""}, 422, "invalid_value", "idempotency_key"),
        ({"idempotency_key": "x" * 256}, 422, "invalid_value", "idempotency_key"),
        ({"idempotency_key": "a\nb"}, 422, "invalid_value", "idempotency_key"),
        ({"properties": {"x": "y" * 4096}}, 422, "invalid_value", "properties"),
    ],
)
async def test_a_bad_member_is_refused_by_name(
    tenant: Tenant, changed: dict[str, Any], status: int, code: str, field: str
) -> None:
    """The refusal names the field; nothing is recorded."""
    await tenant.seed("user_1", 10)
    answer = await tenant.send("POST", PATH, json={**GOOD, **changed})
    assert (answer.status, answer.body["code"]) == (status, code)
    assert [error["field"] for error in answer.body["errors"]] == [field]
    assert await tenant.entries("user_1") == []


@pytest.mark.parametrize("units", [0, -1, 10**12, -(10**12), 10**30])
async def test_how_many_units_there_may_be(tenant: Tenant, units: int) -> None:
    """Of usage and of a reservation: more than none, whatever side it was missed on. Of a check, none too."""
    sent = GOOD | {"units": units}
    for path in (PATH, "/v1/reservations"):
        answer = await tenant.send("POST", path, json=sent)
        assert answer.body["errors"] == [{"field": "units", "message": "must be above 0, and at most 1000000000"}]
    if units:
        answer = await tenant.send("GET", "/v1/entitlements/check", params=sent)
        assert answer.body["errors"][0]["message"] == "must be between 0 and 1000000000"


@pytest.mark.parametrize(
    "number", [b"1e99999999999999999999", b"1e-99999999999999999999", b"9" * 5000, b"0.1" + b"0" * 5000]
)
async def test_numbers_beyond_every_bound(tenant: Tenant, number: bytes) -> None:
    """What no decimal can hold, or only at a price, is refused like any other size."""
    body = b'{"end_user_id": "user_1", "feature_key": "api_calls", "units": %b}' % number
    answer = await tenant.send("POST", PATH, data=body, headers={"Content-Type": "application/json"})
    assert (answer.status, answer.body["code"]) == (422, "invalid_units")


async def test_units_are_never_binary_fractions(tenant: Tenant) -> None:
    """0.1 + 0.2 leaves 0.7 of 1, and the smallest amount there is counts."""
    await tenant.seed("user_1", 1)
    for units in ("0.1", "0.2", "0.000001"):
        body = b'{"end_user_id": "user_1", "feature_key": "api_calls", "units": %b}' % units.encode()
        answer = await tenant.send("POST", PATH, data=body, headers={"Content-Type": "application/json"})
    assert b'"cost":0.000001,"balance":0.699999,' in answer.raw


async def test_the_largest_event(tenant: Tenant) -> None:
    """10⁹ units at 1 credit are taken in; a price of 2 makes it too dear."""
    dear = FeatureTerms(always(PRICE_ID, PerUnitPrice(2 * MICRO)), included=True)
    await tenant.seed("user_1", 10**9, tenant.plan(dear=dear))
    assert (await tenant.use("user_1", units=10**9)).body["balance"] == 0
    answer = await tenant.use("user_1", "dear", units=10**9)
    assert (answer.status, answer.body["code"]) == (422, "cost_too_large")
    assert answer.body["context"] == {"cost": 2 * 10**9}


@pytest.mark.parametrize("seconds", [-WINDOW_SECONDS - 5, 305, -(10**9)])
async def test_a_timestamp_outside_the_window(tenant: Tenant, seconds: int) -> None:
    """Older than the idempotency window, or ahead of every clock."""
    await tenant.seed("user_1", 10)
    answer = await tenant.use("user_1", timestamp=moment(seconds))
    assert (answer.status, answer.body["code"]) == (422, "timestamp_out_of_range")


@pytest.mark.parametrize("seconds", [-WINDOW_SECONDS + 30, 290])
async def test_a_timestamp_inside_the_window(tenant: Tenant, seconds: int) -> None:
    """Just inside both ends."""
    await tenant.seed("user_1", 10)
    assert (await tenant.use("user_1", timestamp=moment(seconds))).status == 202


async def test_a_retry_is_answered_although_its_timestamp_has_become_too_old(tenant: Tenant) -> None:
    """What was accepted stays accepted for whoever asks again with the same key."""
    await tenant.seed("user_1", 10)
    moved = {"timestamp": moment(-WINDOW_SECONDS + 1), "idempotency_key": "k"}
    first = await tenant.use("user_1", **moved)
    assert first.status == 202

    async def is_too_old() -> bool:
        return (await tenant.use("user_1", timestamp=moved["timestamp"])).status == 422

    await wait_until_async(is_too_old, 10, "the timestamp becomes too old")
    assert (await tenant.use("user_1", **moved)).raw == first.raw


async def test_header_and_body_name_two_keys(tenant: Tenant) -> None:
    """422 that names both; the same key twice is fine."""
    await tenant.seed("user_1", 10)
    answer = await tenant.use("user_1", idempotency_key="a", headers={"Idempotency-Key": "b"})
    assert (answer.status, answer.body["code"]) == (422, "invalid_value")
    assert "idempotency_key" in answer.body["detail"]
    assert "Idempotency-Key" in answer.body["detail"]
    assert (await tenant.use("user_1", idempotency_key="a", headers={"Idempotency-Key": "a"})).status == 202


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "image/png"])
async def test_other_media_types(tenant: Tenant, kind: str) -> None:
    """415 for what says of itself that it is no JSON."""
    answer = await tenant.send("POST", PATH, data=b"{}", headers={"Content-Type": kind})
    assert (answer.status, answer.body["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
async def test_json_by_any_of_its_names(tenant: Tenant, kind: str) -> None:
    """Parameters and capitals do not matter."""
    await tenant.seed("user_1", 10)
    answer = await tenant.send("POST", PATH, data=json.dumps(GOOD), headers={"Content-Type": kind})
    assert answer.status == 202


async def test_no_media_type_at_all_and_a_coding(tenant: Tenant) -> None:
    """A missing Content-Type is JSON; a Content-Encoding is not undone."""
    await tenant.seed("user_1", 10)
    body = json.dumps(GOOD).encode()
    length = f"Content-Length: {len(body)}"
    assert (await tenant.raw(f"POST {PATH} HTTP/1.1", length, body=body)).status == 202
    coded = await tenant.raw(f"POST {PATH} HTTP/1.1", length, "Content-Encoding: gzip", body=body)
    assert (coded.status, coded.body["code"]) == (415, "unsupported_media_type")


async def test_a_query_is_refused_by_name(tenant: Tenant) -> None:
    """POST routes take no query."""
    answer = await tenant.send("POST", PATH + "?dry_run=1", json=GOOD)
    assert (answer.status, answer.body["code"]) == (400, "unknown_field")
    assert answer.body["errors"][0]["field"] == "dry_run"


# ---- bounds of the store


async def test_too_much_under_way(tenant: Tenant) -> None:
    """What is accepted and not applied stays below 2^50: 503, and nothing changes."""
    await tenant.seed("user_1", 10, accepted=MAX_DISTANCE - 1)
    answer = await tenant.use("user_1")
    assert (answer.status, answer.body["code"]) == (503, "backlog")
    assert answer.headers["Retry-After"] == "1"


async def test_a_balance_beyond_what_a_double_holds(tenant: Tenant) -> None:
    """422: more debt than can be shown exactly."""
    await tenant.seed("user_1", 0, base=-(2**53) + 2)
    answer = await tenant.use("user_1")
    assert (answer.status, answer.body["code"]) == (422, "balance_out_of_range")


async def test_event_ids_are_uuids(tenant: Tenant) -> None:
    """Derived ids are UUIDv8 of the RFC 9562 variant."""
    await tenant.seed("user_1", 10)
    event_id = ids.parse("evt", (await tenant.use("user_1", idempotency_key="k")).body["event_id"])
    assert (event_id.version, event_id.variant) == (8, UUID(int=PRICE_ID.int | 0x8 << 60).variant)
    assert msgspec.convert(str(event_id), UUID) == event_id
