"""Endpoints over HTTP: who may have which, their secrets, and what is sent to them once more."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from standardwebhooks.webhooks import Webhook

from app.embedded.valkey import EmbeddedValkey
from app.io.outbound import Delivery
from app.io.postgres import Database, Transaction
from app.jobs.deliver import Deliverer
from app.jobs.relay import Relay
from app.jobs.replays import Replays
from app.webhooks import endpoint_store, service
from app.webhooks.endpoint_store import EventRow
from app.wire.codes import Code
from app.wire.ids import parse
from tests.app.core import SECRETS, Client, Core, Tenant, open_core
from tests.app.schema.catalogue import connected
from tests.app.web.test_problems import assert_problem
from tests.conftest import DatabaseUrls
from tests.waiting import wait_until_async
from tests.webhooks.stage import SetClock

ENDPOINTS = "/v1/webhook-endpoints"
DELIVERIES = "/v1/webhook-deliveries"
URL = "https://shop.test/hooks"
HOUR = timedelta(hours=1)


class Stranger:
    """Takes everything, or answers as it is told."""

    def __init__(self) -> None:
        self.status = 200
        self.sent: list[tuple[str, Mapping[str, str], bytes]] = []

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Delivery:
        """What stands for the network."""
        await asyncio.sleep(0)
        self.sent.append((url, headers, body))
        return Delivery(self.status, b"hello", None, None, 3)


class Shop:
    """Core, what jobs does about webhooks, and a stranger."""

    def __init__(self, core: Core, tenant: Tenant, jobs: Database, clock: SetClock) -> None:
        self.core, self.tenant, self.jobs, self.clock = core, tenant, jobs, clock
        self.client = tenant.sandbox
        self.stranger = Stranger()

    async def endpoint(self, client: Client | None = None, **more: Any) -> Any:
        """An endpoint, with its secret."""
        return await (client or self.client).made(ENDPOINTS, {"url": URL} | more)

    async def customer(self, end_user_id: str) -> None:
        """Something happens: a customer is made."""
        await self.client.made("/v1/customers", {"end_user_id": end_user_id})

    async def settled(self) -> None:
        """Everything is replayed, placed and sent."""
        now = self.clock.now()
        while await Replays(self.jobs, self.clock).round(now) or await Relay(self.jobs, self.clock).round(now):
            pass
        stop = asyncio.Event()
        running = asyncio.create_task(
            Deliverer(self.jobs, self.stranger.post, SECRETS["webhook_key"], self.clock).run(stop)
        )

        async def nothing_due() -> bool:
            statement = """
                SELECT NOT EXISTS (
                    SELECT FROM webhook_queues q
                    JOIN webhook_endpoints e ON e.environment_id = q.environment_id AND e.id = q.endpoint_id
                    WHERE e.enabled AND (q.due_at <= $1 OR q.claim IS NOT NULL))
            """
            return await self.jobs.run(None, lambda tx: tx.connection.fetchval(statement, now))

        await wait_until_async(nothing_due, 20, "everything to be sent")
        stop.set()
        await running

    async def deliveries(self, **asked: str) -> list[Any]:
        """What the API lists."""
        return (await self.client.read(DELIVERIES, **asked))["data"]


@pytest.fixture
async def shop(urls: DatabaseUrls, valkey: EmbeddedValkey) -> AsyncIterator[Shop]:
    """A shop of the test's own."""
    async with open_shop(urls, valkey) as opened:
        yield opened


@asynccontextmanager
async def open_shop(urls: DatabaseUrls, valkey: EmbeddedValkey, **changed: Any) -> AsyncIterator[Shop]:
    """The same with other settings."""
    clock = SetClock()
    jobs = await Database.open(urls.of("quotastack_jobs"), "jobs", 3)
    try:
        async with open_core(urls, valkey.url, clock, **changed) as core:
            yield Shop(core, await core.tenant(), jobs, clock)
    finally:
        await jobs.close()


async def test_a_secret_is_shown_once_and_signs(shop: Shop, urls: DatabaseUrls) -> None:
    """A replay answers null in its place; nothing in the database holds it; the library verifies with it."""
    first = await shop.client.post(ENDPOINTS, {"url": URL}, "key")
    again = await shop.client.post(ENDPOINTS, {"url": URL}, "key")
    secret = first.json()["secret"]
    assert secret.startswith("whsec_")
    assert again.json() == first.json() | {"secret": None}
    assert "secret" not in (await shop.client.read(ENDPOINTS))["data"][0]
    await shop.customer("ada")
    shop.clock.at = datetime.now(UTC)
    await shop.settled()
    [(url, headers, body)] = shop.stranger.sent
    assert url == URL
    assert Webhook(secret).verify(body, dict(headers))["type"] == "customer.created"
    statement = "SELECT e, i, a FROM webhook_endpoints e, idempotency_keys i, audit_log a"
    async with connected(urls.owner) as connection:
        kept = [str(row) for row in await connection.fetch(statement)]
    assert kept
    assert not any(secret[6:] in row for row in kept)


async def test_a_secret_that_is_rotated_signs_beside_the_new_one(shop: Shop) -> None:
    """Until the overlap ends; both verify what is sent meanwhile."""
    old = await shop.endpoint()
    path = f"{ENDPOINTS}/{old['webhook_endpoint_id']}/rotate-secret"
    answer = await shop.client.post(path, {"overlap_seconds": 3600})
    assert answer.status_code == 200
    new = answer.json()
    assert new["secret"] != old["secret"]
    shop.clock.at = datetime.now(UTC)
    for verifies in (True, False):
        await shop.customer(f"u{verifies}")
        await shop.settled()
        _, headers, body = shop.stranger.sent[-1]
        signatures = [part.encode() for part in headers["webhook-signature"].split()]
        moment = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
        by_old, by_new = (
            Webhook(each["secret"]).sign(headers["webhook-id"], moment, body.decode()).encode() for each in (old, new)
        )
        assert by_new in signatures
        assert (by_old in signatures) is verifies
        shop.clock.at = datetime.fromisoformat(new["updated_at"]) + 2 * HOUR if verifies else shop.clock.at


async def test_a_trace_goes_on_in_the_webhook(shop: Shop) -> None:
    """What the request that made it happen came with; nothing where it came with none."""
    await shop.endpoint()
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    for name, headers in (("ada", {"traceparent": traceparent}), ("ben", {})):
        await shop.client.send("POST", "/v1/customers", json={"end_user_id": name}, headers=headers)
        await shop.settled()
    assert [headers.get("traceparent") for _, headers, _ in shop.stranger.sent] == [traceparent, None]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"url": "https://10.0.0.1/"}, "url"),
        ({"url": "ftp://shop.test"}, "url"),
        ({"url": "https://user@shop.test"}, "url"),
        ({"url": URL, "event_types": ["customer.erased"]}, "event_types"),
        ({"url": URL, "event_types": ["nothing.*"]}, "event_types"),
        ({"url": URL, "event_types": []}, "event_types"),
        ({"url": URL, "description": "a\nb"}, "description"),
    ],
)
async def test_what_cannot_be_an_endpoint(shop: Shop, body: Any, field: str) -> None:
    """It is refused by the name of the field, when it is made and when it is changed."""
    for answer in (
        await shop.client.post(ENDPOINTS, body),
        await shop.client.send(
            "PATCH",
            f"{ENDPOINTS}/{(await shop.endpoint())['webhook_endpoint_id']}",
            json=body,
        ),
    ):
        assert_problem(answer, Code.INVALID_VALUE, field)


async def test_live_endpoints_have_https(urls: DatabaseUrls, valkey: EmbeddedValkey) -> None:
    """But for addresses that the operator allowed; the sandbox need not."""
    async with open_shop(urls, valkey, webhook_allowed_networks="127.0.0.0/8") as shop:
        await shop.endpoint(url="http://shop.test/")
        await shop.endpoint(shop.tenant.live, url="http://127.0.0.1:9000/")
        assert_problem(await shop.tenant.live.post(ENDPOINTS, {"url": "http://shop.test/"}), Code.INVALID_VALUE, "url")


async def test_endpoints_are_changed_listed_and_deleted(shop: Shop, urls: DatabaseUrls) -> None:
    """What is left out stays; a deleted one is gone, and hears of nothing."""
    made = [await shop.endpoint(description=f"d{number}") for number in range(3)]
    path = f"{ENDPOINTS}/{made[0]['webhook_endpoint_id']}"
    changed = await shop.client.send("PATCH", path, json={"event_types": ["credits.*", "credits.*"], "enabled": False})
    assert changed.status_code == 200
    seen = await shop.client.read(path)
    assert seen == changed.json()
    assert (seen["description"], seen["event_types"]) == ("d0", ["credits.*"])
    assert (seen["enabled"], seen["disabled_reason"]) == (False, "asked")
    page = await shop.client.read(ENDPOINTS, limit=2)
    rest = await shop.client.read(ENDPOINTS, cursor=page["next_cursor"])
    ids = [each["webhook_endpoint_id"] for each in page["data"] + rest["data"]]
    assert ids == [each["webhook_endpoint_id"] for each in made]
    for each in made[1:]:
        gone = f"{ENDPOINTS}/{each['webhook_endpoint_id']}"
        assert (await shop.client.send("DELETE", gone)).status_code == 200
        assert_problem(await shop.client.get(gone), Code.NOT_FOUND)
        assert_problem(await shop.client.send("DELETE", gone), Code.NOT_FOUND)
    await shop.customer("ada")
    await shop.settled()
    assert shop.stranger.sent == []
    async with connected(urls.owner) as connection:
        statement = "SELECT count(*) FROM audit_log WHERE subject_kind = 'webhook_endpoint'"
        assert await connection.fetchval(statement) == 6


async def test_what_happens_while_an_endpoint_is_disabled_waits(shop: Shop) -> None:
    """Enabled again, it hears of all of that, in order."""
    path = f"{ENDPOINTS}/{(await shop.endpoint(enabled=False))['webhook_endpoint_id']}"
    for name in ("a", "b", "c"):
        await shop.customer(name)
    await shop.settled()
    assert [each["state"] for each in await shop.deliveries()] == ["pending"] * 3
    assert shop.stranger.sent == []
    await shop.client.send("PATCH", path, json={"enabled": True})
    await shop.settled()
    assert len(shop.stranger.sent) == 3


async def test_a_test_goes_to_its_endpoint_alone(shop: Shop) -> None:
    """Whatever that wants to hear of."""
    asked = await shop.endpoint(url="https://asked.test", event_types=["topup.granted"])
    await shop.endpoint(url="https://other.test")
    answer = await shop.client.post(f"{ENDPOINTS}/{asked['webhook_endpoint_id']}/test", {})
    assert answer.status_code == 202
    await shop.settled()
    assert [(url, headers["webhook-id"]) for url, headers, _ in shop.stranger.sent] == [
        ("https://asked.test", answer.json()["event_id"])
    ]


async def test_deliveries_are_found_with_their_attempts(shop: Shop) -> None:
    """By endpoint, state, event and customer; what is parked or was taken is sent again under its id."""
    endpoint = (await shop.endpoint())["webhook_endpoint_id"]
    shop.stranger.status = 500
    await shop.customer("ada")
    await shop.settled()
    shop.stranger.status = 200
    await shop.customer("ben")
    await shop.settled()
    [ada] = await shop.deliveries(end_user_id="ada")
    [ben] = await shop.deliveries(state="delivered")
    assert (ada["state"], ada["attempt_count"], ben["end_user_id"]) == ("pending", 1, "ben")
    assert ada["attempts"] == [
        {
            "number": 1,
            "at": ada["attempts"][0]["at"],
            "status": 500,
            "failure": None,
            "elapsed_ms": 3,
            "answer": "hello",
        }
    ]
    assert datetime.fromisoformat(ada["next_attempt_at"]) > shop.clock.at
    assert await shop.deliveries(event_id=ada["event_id"]) == [ada]
    assert len(await shop.deliveries(endpoint_id=endpoint)) == 2
    for one in (ada, ben):
        answer = await shop.client.post(f"{DELIVERIES}/{one['webhook_delivery_id']}/retry", {})
        assert (answer.status_code, answer.json()["state"]) == (202, "pending")
    await shop.settled()
    assert {each["state"] for each in await shop.deliveries()} == {"delivered"}
    ids = [headers["webhook-id"] for _, headers, _ in shop.stranger.sent]
    assert sorted(ids) == sorted(2 * [ada["event_id"], ben["event_id"]])
    assert [attempt["number"] for attempt in (await shop.deliveries(end_user_id="ben"))[0]["attempts"]] == [1, 2]


async def test_a_replay_sends_what_was_told_before(shop: Shop) -> None:
    """Certain events, or a time, to an endpoint that is newer than they are too; each under its id, in order."""
    for number in range(5):
        await shop.customer(f"u{number}")
        await shop.settled()
        shop.clock.at += HOUR
    events = (await shop.client.read("/v1/events"))["data"]
    endpoint = (await shop.endpoint())["webhook_endpoint_id"]
    begin = (shop.clock.at - 4 * HOUR).isoformat()
    end = (shop.clock.at - 2 * HOUR).isoformat()
    body = {"webhook_endpoint_id": endpoint, "from": begin, "to": end}
    answer = await shop.client.post(f"{DELIVERIES}/replay", body)
    assert (answer.status_code, answer.json()["looked_through"]) == (202, 2)
    await shop.settled()
    ids = [each["event_id"] for each in events]
    assert [headers["webhook-id"] for _, headers, _ in shop.stranger.sent] == ids[1:3]
    these = {"webhook_endpoint_id": endpoint, "event_ids": [ids[4], ids[1]]}
    assert (await shop.client.post(f"{DELIVERIES}/replay", these)).json()["looked_through"] == 2
    await shop.settled()
    assert sorted(headers["webhook-id"] for _, headers, _ in shop.stranger.sent[2:]) == sorted([ids[1], ids[4]])
    nothing = body | {"event_types": ["credits.*"]}
    await shop.client.post(f"{DELIVERIES}/replay", nothing)
    await shop.settled()
    assert len(shop.stranger.sent) == 4


async def test_a_replay_goes_by_when_events_were_recorded(shop: Shop) -> None:
    """Under a test clock that is not their own time: the feed shows it, and a replay from then on has the event."""
    frozen = "2035-03-01T00:00:00Z"
    assert (await shop.client.post("/v1/test-clock/freeze", {"at": frozen})).status_code == 200
    await shop.customer("ada")
    await shop.settled()
    [event] = (await shop.client.read("/v1/events"))["data"]
    assert (event["timestamp"], event["recorded_at"]) == (frozen, shop.clock.at.isoformat().replace("+00:00", "Z"))
    shop.clock.at += HOUR
    body = {"webhook_endpoint_id": (await shop.endpoint())["webhook_endpoint_id"]}
    answer = await shop.client.post(f"{DELIVERIES}/replay", body | {"from": event["recorded_at"]})
    assert answer.json()["looked_through"] == 1
    assert_problem(await shop.client.post(f"{DELIVERIES}/replay", body | {"from": frozen}), Code.INVALID_VALUE, "from")


@pytest.mark.parametrize("key", [None, "k"])
async def test_what_is_forgotten_just_then_is_not_found(
    shop: Shop, urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    """Nothing is queued, and the answer is the same as a moment later."""
    await shop.customer("ada")
    await shop.customer("ben")
    await shop.settled()
    ids = [each["event_id"] for each in (await shop.client.read("/v1/events"))["data"]]
    endpoint = (await shop.endpoint())["webhook_endpoint_id"]
    find_events = endpoint_store.find_events

    async def find_then_forget(tx: Transaction, event_ids: Sequence[UUID]) -> list[EventRow]:
        found = await find_events(tx, event_ids)
        async with connected(urls.owner) as connection:
            await connection.execute("DELETE FROM outbox WHERE id = $1", parse("evt", ids[0]))
        return found

    monkeypatch.setattr(endpoint_store, "find_events", find_then_forget)
    body = {"webhook_endpoint_id": endpoint, "event_ids": ids}
    assert_problem(await shop.client.post(f"{DELIVERIES}/replay", body, key), Code.NOT_FOUND)
    assert await shop.deliveries() == []


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"event_ids": ["evt_" + 32 * "0"], "from": "2027-01-01T00:00:00Z"},
        {"event_ids": ["evt_x"]},
        {"from": "2027-01-02T00:00:00Z", "to": "2027-01-01T00:00:00Z"},
    ],
)
async def test_a_replay_says_what_it_wants(shop: Shop, more: Any) -> None:
    """One of the two, and that rightly."""
    body = {"webhook_endpoint_id": (await shop.endpoint())["webhook_endpoint_id"]} | more
    answer = await shop.client.post(f"{DELIVERIES}/replay", body)
    assert_problem(answer, Code.INVALID_VALUE, "from" if len(more) > 1 and "to" in more else "event_ids")


async def test_the_feed_goes_on_where_it_was_left(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cursor is always there; asked at the end it is the same again, and brings what comes later. Nobody else's."""
    monkeypatch.setattr(service, "LOOKED_THROUGH", 2)
    empty = await shop.client.read("/v1/events")
    assert (empty["data"], empty["has_more"]) == ([], False)
    for name in ("a", "b", "c", "d", "e"):
        await shop.customer(name)
    await shop.tenant.live.made("/v1/customers", {"end_user_id": "z"})
    await shop.settled()
    seen, page = [], empty
    while True:
        page = await shop.client.read("/v1/events", cursor=page["next_cursor"], limit=3)
        seen += [each["end_user_id"] for each in page["data"]]
        if not page["has_more"]:
            break
    assert seen == ["a", "b", "c", "d", "e"]
    last = await shop.client.read("/v1/events", cursor=page["next_cursor"])
    assert last == {"data": [], "next_cursor": page["next_cursor"], "has_more": False}
    await shop.customer("f")
    await shop.settled()
    [event] = (await shop.client.read("/v1/events", cursor=last["next_cursor"]))["data"]
    assert (event["type"], event["end_user_id"], event["sequence"]) == ("customer.created", "f", 1)
    assert event["data"]["end_user_id"] == "f"


async def test_the_feed_tells_what_webhooks_tell(shop: Shop) -> None:
    """The same members with the same values, the id that webhooks have in a header, and when it was recorded."""
    await shop.endpoint()
    for name in ("ada", "ben"):
        await shop.customer(name)
    await shop.settled()
    told = [msgspec.json.decode(body) | {"event_id": headers["webhook-id"]} for _, headers, body in shop.stranger.sent]
    feed = (await shop.client.read("/v1/events"))["data"]
    assert {event.pop("recorded_at") for event in feed} == {shop.clock.at.isoformat().replace("+00:00", "Z")}
    assert sorted(told, key=lambda event: event["event_id"]) == sorted(feed, key=lambda event: event["event_id"])


async def test_the_feed_is_narrowed(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """By customer and type; a page that looked through its share without finding any says that there is more."""
    monkeypatch.setattr(service, "LOOKED_THROUGH", 2)
    for name in ("a", "b", "c"):
        await shop.customer(name)
    await shop.settled()
    first = await shop.client.read("/v1/events", end_user_id="c")
    assert (first["data"], first["has_more"]) == ([], True)
    second = await shop.client.read("/v1/events", end_user_id="c", cursor=first["next_cursor"])
    assert ([each["end_user_id"] for each in second["data"]], second["has_more"]) == (["c"], False)
    assert (await shop.client.read("/v1/events", type="credits.low"))["data"] == []
    assert_problem(await shop.client.get("/v1/events", type="no.such"), Code.INVALID_VALUE, "type")


async def test_there_are_only_so_many(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twins do not get past the bound."""
    monkeypatch.setattr(service, "MAX_ENDPOINTS", 2)
    answers = await asyncio.gather(*(shop.client.post(ENDPOINTS, {"url": URL}) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [201, 201, 409, 409, 409]
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"too_many_endpoints"}


async def test_there_are_only_so_many_replays_at_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twins do not get past the bound, another environment has its own, and the same request goes through later."""
    monkeypatch.setattr(service, "MAX_REPLAYS", 2)
    asked = {"from": shop.clock.now().isoformat()}
    shop.clock.at += HOUR
    bodies: list[Any] = []
    for client in (shop.client, shop.tenant.live):
        await client.made("/v1/customers", {"end_user_id": "ada"})
        bodies.append(asked | {"webhook_endpoint_id": (await shop.endpoint(client))["webhook_endpoint_id"]})
    await shop.settled()
    shop.clock.at += HOUR
    path = f"{DELIVERIES}/replay"
    answers = await asyncio.gather(*(shop.client.post(path, bodies[0], f"k{number}") for number in range(5)))
    assert sorted(answer.status_code for answer in answers) == [202, 202, 409, 409, 409]
    refused = next(number for number, answer in enumerate(answers) if answer.status_code == 409)
    assert_problem(answers[refused], Code.TOO_MANY_REPLAYS)
    assert (await shop.tenant.live.post(path, bodies[1])).status_code == 202
    await shop.settled()
    assert (await shop.client.post(path, bodies[0], f"k{refused}")).status_code == 202


async def test_environments_and_scopes_are_kept_apart(shop: Shop) -> None:
    """Nothing of the sandbox is seen with a live key, and without the scope there is nothing."""
    made = await shop.endpoint()
    await shop.customer("ada")
    await shop.settled()
    [delivery] = await shop.deliveries()
    live = shop.tenant.live
    for path in (f"{ENDPOINTS}/{made['webhook_endpoint_id']}", f"{DELIVERIES}?end_user_id=ada"):
        answer = await live.get(path)
        assert answer.status_code == 404 or answer.json()["data"] == []
    retry = f"{DELIVERIES}/{delivery['webhook_delivery_id']}/retry"
    assert_problem(await live.post(retry, {}), Code.NOT_FOUND)
    key = await shop.client.made("/v1/api-keys", {"name": "reader", "scopes": ["entitlements:read"]})
    reader = shop.core.client(key["key"])
    assert_problem(await reader.get(ENDPOINTS), Code.MISSING_SCOPE)
    assert (await reader.get("/v1/events")).status_code == 200
