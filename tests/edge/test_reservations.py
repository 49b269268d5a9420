"""`POST /v1/reservations` and what becomes of one: what is set aside, charged, given back, refused."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from app.rules.credits import MICRO
from app.rules.moments import NEVER_AT
from app.rules.pricing import PerUnitPrice, always
from app.wire import ids
from app.wire.events import StreamEntry, parse_entry
from app.wire.held import MAX_OPEN_RESERVATIONS, MAX_TTL_SECONDS
from app.wire.reservations import ReservationEnd, ReservationOpening, ReservationState
from app.wire.snapshot import FeatureTerms
from tests.edge.world import PRICE_ID, Answer, Tenant, World, now_at

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def opened(tenant: Tenant, feature_key: str = "api_calls", **more: Any) -> str:
    """The id of a new reservation of user_1."""
    answer = await tenant.reserve("user_1", feature_key, **more)
    assert answer.status == 201, answer.raw
    return answer.body["reservation_id"]


async def posted(tenant: Tenant) -> list[StreamEntry]:
    """The entries of user_1, as the flusher reads them."""
    found = [parse_entry(b"1-1", fields) for fields in await tenant.entries("user_1")]
    assert all(isinstance(entry, StreamEntry) for entry in found), found
    return [entry for entry in found if isinstance(entry, StreamEntry)]


def refusal(answer: Answer) -> tuple[int, str]:
    """Status and code."""
    return answer.status, answer.body["code"]


# ---- opening


async def test_credit_is_set_aside(tenant: Tenant) -> None:
    """201 with what is reserved and what is left, and one entry with everything that the ledger needs."""
    await tenant.seed("user_1", 1000)
    before = now_at()
    sent = {"units": 1500.5, "ttl_seconds": 60, "idempotency_key": "k", "properties": {"model": "größe-7b"}}
    answer = await tenant.reserve("user_1", "tokens", **sent)
    derived = ids.derived_id(tenant.ref, b"user_1", b"reservation", b"tokens", b"k")
    reservation_id = ids.in_partition(derived, tenant.partition("user_1"))
    expires_at = answer.body["expires_at"]
    assert answer.status == 201
    shown_id = ids.show("rsv", reservation_id)
    figures = {"reserved": 4.5015, "balance": 995.4985}
    assert answer.body == {"reservation_id": shown_id, **figures, "expires_at": expires_at}
    (entry,) = await posted(tenant)
    assert (entry.kind, entry.revision, entry.cost_micro) == ("r", 3, 4_501_500)
    assert before <= entry.accepted_at <= now_at()
    due_at = entry.accepted_at + 60 * MICRO
    assert datetime.fromisoformat(expires_at) == datetime.fromtimestamp(due_at / MICRO, UTC)
    opening = ReservationOpening(
        reservation_id=reservation_id,
        feature_key="tokens",
        units_micro=1_500_500_000,
        in_credits=False,
        price_id=PRICE_ID,
        idempotency_key="k",
        properties=json.dumps(sent["properties"]),
        expires_at=due_at,
    )
    assert entry.reservation == opening
    check = (await tenant.check("user_1")).body
    assert (check["balance"], check["reserved"]) == (995.4985, 4.5015)


async def test_what_is_reserved_cannot_be_spent(tenant: Tenant) -> None:
    """Enforced usage, checks and other reservations see what is left."""
    await tenant.seed("user_1", 10)
    await opened(tenant, credits=7)
    assert (await tenant.use("user_1", units=4, enforce=True)).status == 402
    assert (await tenant.check("user_1", units=4)).body["reason"] == "insufficient_credits"
    answer = await tenant.reserve("user_1", units=4)
    assert refusal(answer) == (402, "insufficient_credits")
    assert answer.body["context"] == {"balance": 3, "cost": 4}
    assert (await tenant.reserve("user_1", units=3)).body["balance"] == 0


@pytest.mark.parametrize(
    ("feature_key", "status", "code"),
    [
        ("api_calls", 201, None),
        ("extra", 403, "feature_not_in_plan"),
        ("unpriced", 403, "feature_not_in_plan"),
        ("no-such", 404, "unknown_feature"),
    ],
)
async def test_what_the_plan_says(tenant: Tenant, feature_key: str, status: int, code: str | None) -> None:
    """As with enforced usage: what is not included cannot be reserved."""
    await tenant.seed("user_1", 10)
    answer = await tenant.reserve("user_1", feature_key, units=1)
    assert (answer.status, answer.body.get("code")) == (status, code)
    assert len(await tenant.entries("user_1")) == (status == 201)


async def test_an_unknown_customer(tenant: Tenant) -> None:
    """404, whatever the feature."""
    assert refusal(await tenant.reserve("nobody", "no-such", units=1)) == (404, "unknown_customer")


async def test_a_lenient_feature_is_reserved_beyond_the_balance(tenant: Tenant) -> None:
    """Policy notify: what is not covered becomes overage."""
    await tenant.seed("user_1", 10)
    assert (await tenant.reserve("user_1", "lenient", units=12)).body["balance"] == -2


@pytest.mark.parametrize(
    ("sent", "status", "code", "field"),
    [
        ({}, 422, "invalid_value", "units"),
        ({"units": 1, "credits": 1}, 422, "invalid_value", "credits"),
        ({"units": 0}, 422, "invalid_units", "units"),
        ({"units": "1"}, 400, "invalid_body", "units"),
        ({"units": 1e40}, 422, "invalid_units", "units"),
        ({"credits": 0}, 422, "invalid_value", "credits"),
        ({"credits": -1}, 422, "invalid_value", "credits"),
        ({"credits": 0.0000001}, 422, "invalid_value", "credits"),
        ({"credits": 10**9 + 1}, 422, "invalid_value", "credits"),
        ({"credits": True}, 400, "invalid_body", "credits"),
        ({"units": 1, "ttl_seconds": 0}, 422, "invalid_value", "ttl_seconds"),
        ({"units": 1, "ttl_seconds": MAX_TTL_SECONDS + 1}, 422, "invalid_value", "ttl_seconds"),
        ({"units": 1, "ttl_seconds": 1.5}, 400, "invalid_body", "ttl_seconds"),
        ({"units": 1, "enforce": True}, 400, "unknown_field", "enforce"),
        ({"units": 10**9, "feature_key": "dear"}, 422, "cost_too_large", None),
    ],
    ids=str,
)
async def test_what_cannot_be_reserved(
    tenant: Tenant, sent: dict[str, Any], status: int, code: str, field: str | None
) -> None:
    """Named, and nothing is reserved."""
    dear = FeatureTerms(always(PRICE_ID, PerUnitPrice(5 * MICRO)), included=True)
    await tenant.seed("user_1", 10, tenant.plan(dear=dear))
    answer = await tenant.reserve("user_1", **sent)
    assert refusal(answer) == (status, code)
    assert [error["field"] for error in answer.body.get("errors", [])] == ([field] if field else [])
    assert await tenant.entries("user_1") == []


async def test_too_many_are_open(tenant: Tenant) -> None:
    """409 at the bound; one that ends makes room."""
    await tenant.seed("user_1", 1000, open=MAX_OPEN_RESERVATIONS - 1)
    first = await opened(tenant, units=1)
    assert refusal(await tenant.reserve("user_1", units=1)) == (409, "too_many_reservations")
    await tenant.change(first, "release")
    assert (await tenant.reserve("user_1", units=1)).status == 201


async def test_a_hundred_at_once_never_oversell(tenant: Tenant) -> None:
    """44: 100 parallel reservations of 10 on both workers for 250 credits: exactly 25 are made, whatever the order."""
    await tenant.seed("user_1", 250)
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        client = tenant.on(session)
        answers = await asyncio.gather(*(client.reserve("user_1", credits=10) for _ in range(100)))
    assert sorted(answer.status for answer in answers) == [201] * 25 + [402] * 75
    account = await tenant.account("user_1")
    assert (account["accepted"], account["reserved"], account["open"]) == (str(250 * MICRO), str(250 * MICRO), "25")


# ---- ends


@pytest.mark.parametrize(
    ("reserved", "sent", "figures"),
    [
        ({"units": 100}, {"units": 70}, (70, 30, 930)),
        ({"units": 100}, {}, (100, 0, 900)),
        ({"units": 100}, {"units": None, "credits": None}, (100, 0, 900)),
        ({"units": 100}, {"units": 0}, (0, 100, 1000)),
        ({"units": 100}, {"units": 100.5}, (100.5, 0, 899.5)),
        ({"units": 100}, {"units": 1200}, (1200, 0, -200)),
        ({"credits": 100}, {"credits": 12.5}, (12.5, 87.5, 987.5)),
        ({"credits": 100}, {}, (100, 0, 900)),
        ({"credits": 100}, {"credits": 150}, (150, 0, 850)),
    ],
    ids=str,
)
async def test_what_was_used_is_charged(
    tenant: Tenant, reserved: dict[str, Any], sent: dict[str, Any], figures: tuple[float, float, float]
) -> None:
    """Less, all, nothing or more than was reserved: the rest comes back at once, the difference is taken."""
    charged, released, balance = figures
    await tenant.seed("user_1", 1000)
    reservation_id = await opened(tenant, **reserved)
    answer = await tenant.change(reservation_id, "commit", **sent)
    assert answer.status == 200
    assert answer.body == {
        "reservation_id": reservation_id,
        "state": "committed",
        "charged": charged,
        "released": released,
        "balance": balance,
        "late": False,
    }
    check = (await tenant.check("user_1")).body
    assert (check["balance"], check["reserved"]) == (balance, 0)
    opening, end = await posted(tenant)
    assert opening.cost_micro + end.cost_micro == charged * MICRO
    units = charged if "units" in reserved else 0
    assert end.reservation == ReservationEnd(
        reservation_id=ids.parse("rsv", reservation_id),
        feature_key="api_calls",
        state=ReservationState.COMMITTED,
        units_micro=round(units * MICRO),
        price_id=PRICE_ID,
        used_micro=round(charged * MICRO),
    )


async def test_without_a_body_all_is_committed(tenant: Tenant) -> None:
    """An empty body, `null` and `{}` are the same call."""
    await tenant.seed("user_1", 1000)
    path = f"/v1/reservations/{await opened(tenant, units=10)}/commit"
    first = await tenant.send("POST", path)
    assert (first.status, first.body["charged"]) == (200, 10)
    for body in (b"null", b"{}"):
        again = await tenant.send("POST", path, data=body, headers={"Content-Type": "application/json"})
        assert (again.raw, again.headers["Idempotent-Replayed"]) == (first.raw, "true")


async def test_a_release_gives_all_back(tenant: Tenant) -> None:
    """Nothing is charged."""
    await tenant.seed("user_1", 1000)
    reservation_id = await opened(tenant, "image", units=3)
    answer = await tenant.change(reservation_id, "release")
    ended = {"state": "released", "charged": 0, "released": 10, "balance": 1000, "late": False}
    assert answer.body == {"reservation_id": reservation_id, **ended}
    _, end = await posted(tenant)
    assert end.cost_micro == -10 * MICRO
    assert isinstance(end.reservation, ReservationEnd)
    assert (end.reservation.state, end.reservation.price_id) == ("released", None)


async def test_the_price_is_pinned(tenant: Tenant) -> None:
    """A commit costs what it cost when it was reserved, whatever the plan says by now, on any worker."""
    await tenant.seed("user_1", 1000)
    reservation_id = await opened(tenant, units=10)
    dear = FeatureTerms(always(PRICE_ID, PerUnitPrice(5 * MICRO)), included=True)
    await tenant.seed("user_1", 990, tenant.plan(api_calls=dear))
    assert (await tenant.change(reservation_id, "commit", units=20)).body["charged"] == 20


@pytest.mark.parametrize(
    ("reserved", "sent"), [({"units": 5}, {"credits": 5}), ({"credits": 5}, {"units": 5})], ids=str
)
async def test_units_and_credits_are_not_mixed(tenant: Tenant, reserved: dict[str, Any], sent: dict[str, Any]) -> None:
    """422, and the reservation stays open."""
    await tenant.seed("user_1", 1000)
    reservation_id = await opened(tenant, **reserved)
    assert refusal(await tenant.change(reservation_id, "commit", **sent)) == (422, "measure_mismatch")
    assert (await tenant.show(reservation_id)).body["state"] == "open"


@pytest.mark.parametrize(
    ("verb", "sent", "status", "code"),
    [
        ("commit", {"units": -1}, 422, "invalid_units"),
        ("commit", {"units": "1"}, 400, "invalid_body"),
        ("commit", {"units": 1, "credits": 1}, 422, "invalid_value"),
        ("commit", {"amount": 1}, 400, "unknown_field"),
        ("commit", {"units": 10**9}, 422, "cost_too_large"),
        ("release", {"units": 1}, 400, "unknown_field"),
        ("extend", {"ttl_seconds": 0}, 422, "invalid_value"),
        ("extend", {"ttl": 5}, 400, "unknown_field"),
    ],
    ids=str,
)
async def test_what_cannot_be_asked(tenant: Tenant, verb: str, sent: dict[str, Any], status: int, code: str) -> None:
    """Named, and the reservation stays open."""
    dear = FeatureTerms(always(PRICE_ID, PerUnitPrice(5 * MICRO)), included=True)
    await tenant.seed("user_1", 1000, tenant.plan(api_calls=dear))
    reservation_id = await opened(tenant, units=1)
    assert refusal(await tenant.change(reservation_id, verb, **sent)) == (status, code)
    assert (await tenant.show(reservation_id)).body["state"] == "open"


async def test_credit_comes_back_with_a_publish_where_it_may_have_expired(tenant: Tenant) -> None:
    """Past the account's boundary, or after an order, an end costs nothing: the ledger says what comes back."""
    for end_user_id, field in (("user_1", "valid_until"), ("user_2", "ordered_id")):
        soon = now_at() + 1 if field == "valid_until" else NEVER_AT
        await tenant.seed(end_user_id, 1000)
        answer = await tenant.reserve(end_user_id, units=100)
        if field == "valid_until":
            await tenant.world.redis.hset(tenant.reservation_key(answer.body["reservation_id"]), "until", soon)
        else:
            await tenant.world.redis.hset(tenant.account_key(end_user_id), field, "9999999999999-0")
        body = (await tenant.change(answer.body["reservation_id"], "commit", units=70)).body
        assert (body["charged"], body["released"], body["balance"]) == (70, 30, 900)
        assert [fields[b"c"] for fields in await tenant.entries(end_user_id)] == [b"100000000", b"0"]
        assert (await tenant.account(end_user_id))["reserved"] == "0"


async def test_more_than_was_reserved_is_taken_at_once(tenant: Tenant) -> None:
    """Deferred is only what comes back."""
    await tenant.seed("user_1", 1000)
    reservation_id = await opened(tenant, units=10)
    await tenant.world.redis.hset(tenant.reservation_key(reservation_id), "until", 0)
    assert (await tenant.change(reservation_id, "commit", units=30)).body["balance"] == 970


async def test_an_end_does_not_wait_at_a_boundary(tenant: Tenant) -> None:
    """It decides nothing by the account's figures, so it is taken in at once."""
    await tenant.seed("user_1", 1000)
    reservation_id = await opened(tenant, units=10)
    await tenant.world.redis.hset(tenant.account_key("user_1"), "valid_until", now_at() - 1)
    assert (await tenant.change(reservation_id, "release")).status == 200
    assert [fields[b"k"] for fields in await tenant.entries("user_1")] == [b"r", b"r"]


# ---- extending and showing


async def test_a_reservation_is_extended(tenant: Tenant) -> None:
    """It falls due later, never earlier; only a later time is worth an entry."""
    await tenant.seed("user_1", 1000)
    reservation_id = await opened(tenant, units=10, ttl_seconds=60)
    before = (await tenant.show(reservation_id)).body["expires_at"]
    answer = await tenant.change(reservation_id, "extend", ttl_seconds=3600)
    assert answer.body.keys() == {"reservation_id", "state", "expires_at"}
    assert answer.body["state"] == "open"
    later = answer.body["expires_at"]
    assert datetime.fromisoformat(later) > datetime.fromisoformat(before)
    assert (await tenant.change(reservation_id, "extend", ttl_seconds=5)).body["expires_at"] == later
    assert [entry.cost_micro for entry in await posted(tenant)] == [10 * MICRO, 0]
    assert (await tenant.show(reservation_id)).body["expires_at"] == later


async def test_what_is_shown(tenant: Tenant) -> None:
    """Everything that is known of it, before and after its end; HEAD asks the same."""
    await tenant.seed("user_1", 1000)
    of_units, of_credits = await opened(tenant, "tokens", units=2000), await opened(tenant, credits=2.5)
    shown = (await tenant.show(of_units)).body
    assert shown == {
        "reservation_id": of_units,
        "state": "open",
        "end_user_id": "user_1",
        "feature_key": "tokens",
        "units": 2000,
        "reserved": 6,
        "charged": None,
        "released": None,
        "late": False,
        "expires_at": shown["expires_at"],
    }
    assert (await tenant.show(of_credits)).body["units"] is None
    await tenant.change(of_units, "commit", units=1000)
    ended = {"state": "committed", "charged": 3, "released": 3}
    assert (await tenant.show(of_units)).body == {**shown, **ended}
    assert (await tenant.send("HEAD", f"/v1/reservations/{of_units}")).status == 200


@pytest.mark.parametrize(
    ("scope", "statuses"), [("usage:write", [201, 404, 403]), ("entitlements:read", [403] * 2 + [404])]
)
async def test_scopes(world: World, scope: str, statuses: list[int]) -> None:
    """Writing needs usage:write, showing entitlements:read."""
    tenant = await world.tenant(scope)
    await tenant.seed("user_1", 1000)
    unknown = ids.show("rsv", UUID(int=0))
    answers = [
        await tenant.reserve("user_1", units=1),
        await tenant.change(unknown, "commit"),
        await tenant.show(unknown),
    ]
    assert [answer.status for answer in answers] == statuses


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/reservations", 405),
        ("GET", "/v1/reservations/x/commit", 405),
        ("POST", "/v1/reservations/x", 405),
        ("POST", "/v1/reservations/x/commit/y", 404),
        ("POST", "/v1/reservations/x/no-such", 404),
        ("POST", "/v1/reservations/x/commit", 404),
        ("GET", "/v1/reservations/rsv_", 404),
        ("GET", "/v1/reservations/", 404),
        ("GET", "/v1/reservations/rsv_fff00000000000000000000000000000", 404),
    ],
)
async def test_paths(tenant: Tenant, method: str, path: str, status: int) -> None:
    """Other methods and other paths are told apart from ids that are none."""
    assert (await tenant.send(method, path)).status == status
