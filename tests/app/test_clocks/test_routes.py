"""What may be asked of a test clock, and what its environment's time is a moment later."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest

from app.rules.moments import to_at
from app.test_clocks import settling
from app.trail import store
from app.wire import keys
from tests.app.core import PARTITIONS, Client, Core, Tenant
from tests.conftest import DatabaseUrls

DAY = timedelta(days=1)


async def publish_all(core: Core) -> None:
    """What a flusher that has nothing to do says of every partition."""
    redis = core.parts.redis
    for partition, place in enumerate(await redis.read_stream_places()):
        await redis.client.hset(keys.meta(partition), "published", "-".join(map(str, place.newest)))


@pytest.fixture(autouse=True)
async def _published(core: Core) -> None:
    await publish_all(core)


async def freeze(client: Client, **body: str) -> datetime:
    """Where the clock stands."""
    answer = await client.post("/v1/test-clock/freeze", body)
    assert answer.status_code == 200, answer.text
    return datetime.fromisoformat(answer.json()["frozen_at"])


def code(answer: httpx.Response) -> tuple[int, str]:
    """Of a refusal."""
    return answer.status_code, answer.json()["code"]


async def test_time_stands_still_and_moves_on(tenant: Tenant) -> None:
    """It stands where it was frozen until it is moved on, to a moment or by so many seconds."""
    client = tenant.sandbox
    assert await client.read("/v1/test-clock") == {"frozen_at": None, "advancing_to": None}
    begun_at = await freeze(client)
    assert abs(datetime.now(UTC) - begun_at) < timedelta(seconds=10)
    to = {"to": (begun_at + 30 * DAY).isoformat()}
    by = {"by_seconds": 86_400}
    for asked, moved in ((to, 30 * DAY), (to, 30 * DAY), (by, 31 * DAY), (by, 32 * DAY)):
        answer = await client.post("/v1/test-clock/advance", asked)
        assert (answer.status_code, answer.json()["accounts"]) == (200, 0), answer.text
        assert datetime.fromisoformat(answer.json()["frozen_at"]) == begun_at + moved
        shown = await client.read("/v1/test-clock")
        assert shown == {"frozen_at": answer.json()["frozen_at"], "advancing_to": None}


async def test_a_key_moves_time_once_whatever_dies(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where core moved the clock and died before it could say so, whoever asks again does not move it further.

    Neither do twins, of which one is through before the other begins.
    """
    client = tenant.sandbox
    for path, body in (("freeze", {}), ("advance", {"by_seconds": 60})):

        async def die(*_: object) -> None:
            raise ZeroDivisionError

        with monkeypatch.context() as patched:
            patched.setattr(store, "remember_answer", die)
            assert (await client.post(f"/v1/test-clock/{path}", body, "k")).status_code == 500
        stands_at = (await client.read("/v1/test-clock"))["frozen_at"]
        answer = await client.post(f"/v1/test-clock/{path}", body, "k")
        assert (answer.status_code, answer.json()["frozen_at"]) == (200, stands_at), answer.text
    begun_at = datetime.fromisoformat((await client.read("/v1/test-clock"))["frozen_at"])
    asked = {"by_seconds": 60}
    answers = await asyncio.gather(*(client.post("/v1/test-clock/advance", asked, "twin") for _ in range(8)))
    assert {datetime.fromisoformat(answer.json()["frozen_at"]) for answer in answers} == {
        begun_at + timedelta(minutes=1)
    }
    answer = await client.post("/v1/test-clock/advance", asked, "next")
    assert datetime.fromisoformat(answer.json()["frozen_at"]) == begun_at + timedelta(minutes=2)


@pytest.mark.parametrize(
    ("method", "path", "field", "body"),
    [
        ("POST", "/v1/credits/grants", "expires_at", {"end_user_id": "u", "amount": 1}),
        ("PUT", "/v1/customers/u/overrides/calls", "expires_at", {"limit": 1}),
        ("POST", "/v1/subscriptions", "starts_at", {"end_user_id": "u"}),
        ("POST", "/v1/features/calls/prices", "effective_at", {"kind": "flat", "amount": 2}),
    ],
)
async def test_what_lies_in_its_past_is_told_its_time(
    tenant: Tenant, method: str, path: str, field: str, body: dict[str, Any]
) -> None:
    """A moment that is still to come, and has passed by the clock: which moment counts as now is said, and by what."""
    client = tenant.sandbox
    await client.made("/v1/features", {"key": "calls", "name": "c", "price": {"kind": "flat", "amount": 1}})
    await client.made("/v1/plans", {"key": "pro", "name": "p"})
    made = await client.made("/v1/plans/pro/variants", {"key": "m", "interval": "month"})
    await client.made("/v1/customers", {"end_user_id": "u"})
    at = (datetime.now(UTC) + 100 * DAY).replace(microsecond=0)
    frozen_at = (await freeze(client, at=at.isoformat())).isoformat().replace("+00:00", "Z")
    if path == "/v1/subscriptions":
        body |= {"plan_variant_id": made["plan_variant_id"]}
    answer = await client.send(method, path, json=body | {field: (at - DAY).isoformat()})
    assert code(answer) == (422, "invalid_value"), answer.text
    (error,) = answer.json()["errors"]
    assert error["field"] == field
    assert f"now ({frozen_at} by this environment's clock)" in error["message"]


async def test_keys_end_by_the_real_time(tenant: Tenant) -> None:
    """Also where the clock is behind: that is said to whoever goes by it."""
    client = tenant.sandbox
    await freeze(client, at=(datetime.now(UTC) + 100 * DAY).isoformat())
    asked = {"name": "k", "scopes": ["usage:write"], "expires_at": (datetime.now(UTC) - DAY).isoformat()}
    answer = await client.post("/v1/api-keys", asked)
    assert code(answer) == (422, "invalid_value"), answer.text
    assert " by the real time)" in answer.json()["errors"][0]["message"]


async def test_a_key_moves_time_once(tenant: Tenant) -> None:
    """The same request under the same key is answered again, and a refusal too."""
    client = tenant.sandbox
    refused = [await client.post("/v1/test-clock/advance", {"by_seconds": 60}, "early") for _ in range(2)]
    begun_at = await freeze(client)
    refused.append(await client.post("/v1/test-clock/advance", {"by_seconds": 60}, "early"))
    assert {(*code(answer), answer.content) for answer in refused} == {(409, "test_clock_conflict", refused[0].content)}
    answers = [await client.post("/v1/test-clock/advance", {"by_seconds": 60}, "minute") for _ in range(2)]
    assert answers[0].content == answers[1].content
    assert answers[1].headers["idempotent-replayed"] == "true"
    shown = await client.read("/v1/test-clock")
    assert datetime.fromisoformat(shown["frozen_at"]) == begun_at + timedelta(seconds=60)


@pytest.mark.parametrize("path", ["", "/freeze", "/advance", "/reset"])
async def test_live_time_is_not_played_with(tenant: Tenant, path: str) -> None:
    """No route of the test clock does anything in a live environment."""
    route, body = f"/v1/test-clock{path}", {"by_seconds": 1} if path == "/advance" else {}
    answer = await (tenant.live.post(route, body) if path else tenant.live.get(route))
    assert code(answer) == (403, "sandbox_only")


@pytest.mark.parametrize(
    ("verb", "days", "expected"),
    [
        ("freeze", -1, (422, "invalid_value")),
        ("freeze", 3_654, (422, "invalid_value")),
        ("advance", 1, (409, "test_clock_conflict")),
    ],
)
async def test_what_is_refused_while_time_goes_on(
    tenant: Tenant, verb: str, days: int, expected: tuple[int, str]
) -> None:
    """A clock begins now or later, within ten years, and is there before it is moved."""
    moment = (datetime.now(UTC) + days * DAY).isoformat()
    body = {"at": moment} if verb == "freeze" else {"to": moment}
    assert code(await tenant.sandbox.post(f"/v1/test-clock/{verb}", body)) == expected
    assert await tenant.sandbox.read("/v1/test-clock") == {"frozen_at": None, "advancing_to": None}


async def test_what_is_refused_while_time_stands_still(tenant: Tenant) -> None:
    """It is frozen once, never goes back, and moves by one measure at a time, ten years at most and never to 2200."""
    client = tenant.sandbox
    begun_at = await freeze(client)
    assert code(await client.post("/v1/test-clock/freeze", {})) == (409, "test_clock_conflict")
    back = await client.post("/v1/test-clock/advance", {"to": (begun_at - DAY).isoformat()})
    assert code(back) == (409, "test_clock_conflict")
    assert datetime.fromisoformat(back.json()["context"]["frozen_at"]) == begun_at
    far, near = (begun_at + 3_654 * DAY).isoformat(), begun_at.isoformat()
    for body in ({"to": far}, {}, {"to": near, "by_seconds": 1}):
        assert code(await client.post("/v1/test-clock/advance", body)) == (422, "invalid_value")
    answer = httpx.Response(200)
    for _ in range(20):
        answer = await client.post("/v1/test-clock/advance", {"by_seconds": 3_653 * 86_400})
        if answer.status_code != 200:
            break
    assert code(answer) == (422, "invalid_value")
    assert (await client.read("/v1/test-clock"))["frozen_at"] > "2180"


async def test_a_reset_is_for_environments_without_customers(tenant: Tenant) -> None:
    """Then it goes by the real time again; what was posted for customers stays, and so does the clock."""
    client = tenant.sandbox
    await freeze(client, at=(datetime.now(UTC) + 9 * DAY).isoformat())
    for _ in range(2):
        assert (await client.post("/v1/test-clock/reset", {})).json() == {"frozen_at": None, "advancing_to": None}
    await freeze(client)
    await client.made("/v1/customers", {"end_user_id": "u"})
    assert code(await client.post("/v1/test-clock/reset", {})) == (409, "test_clock_conflict")
    assert (await client.read("/v1/test-clock"))["frozen_at"] is not None


async def test_no_reset_takes_a_price_away(tenant: Tenant) -> None:
    """One that was made by a clock that is ahead would hold later only; what was made before it was frozen stays."""
    client, priced = tenant.sandbox, {"price": {"kind": "per_unit", "amount": 1}}
    await client.made("/v1/features", {"key": "before", "name": "Before", **priced})
    await freeze(client)
    assert (await client.post("/v1/test-clock/advance", {"by_seconds": 9 * 86_400})).status_code == 200
    assert (await client.post("/v1/test-clock/reset", {})).status_code == 200
    assert (await client.read("/v1/features/before"))["price"] is not None
    await freeze(client, at=(datetime.now(UTC) + 9 * DAY).isoformat())
    await client.made("/v1/features", {"key": "ahead", "name": "Ahead", **priced})
    assert code(await client.post("/v1/test-clock/reset", {})) == (409, "test_clock_conflict")
    assert (await client.read("/v1/features/ahead"))["price"] is not None


async def test_nobody_is_left_out_by_a_reset(tenant: Tenant) -> None:
    """Since when an environment enrols is a moment of the clock; where that is to come, the clock stays."""
    client = tenant.sandbox
    await client.made("/v1/plans", {"key": "free", "name": "Free"})
    variant = {"key": "monthly", "interval": "month", "billing_mode": "postpaid", "grants": [], "features": []}
    variant_id = (await client.made("/v1/plans/free/variants", variant))["plan_variant_id"]
    await freeze(client, at=(datetime.now(UTC) + 9 * DAY).isoformat())
    for is_on, expected in ((True, 409), (False, 200)):
        settings = {"free_plan_variant_id": variant_id, "auto_enroll": is_on}
        assert (await client.send("PATCH", "/v1/environment", json=settings)).status_code == 200
        assert (await client.post("/v1/test-clock/reset", {})).status_code == expected


async def test_core_goes_by_the_clock_of_the_environment(tenant: Tenant, urls: DatabaseUrls) -> None:
    """What is made is dated by it, prices hold by it; keys are remembered by the real time, and live goes on."""
    client = tenant.sandbox
    begun_at = await freeze(client, at=(datetime.now(UTC) + 40 * DAY).isoformat())
    await client.made("/v1/features", {"key": "f", "name": "F", "price": {"kind": "per_unit", "amount": 1}})
    dearer = {"kind": "per_unit", "amount": 5, "effective_at": (begun_at + 2 * DAY).isoformat()}
    await client.made("/v1/features/f/prices", dearer)
    await client.post("/v1/customers", {"end_user_id": "u"}, "key")
    for days, amount in ((1, 1), (1, 5)):
        await client.post("/v1/test-clock/advance", {"by_seconds": days * 86_400})
        assert (await client.read("/v1/features/f"))["price"]["amount"] == amount
    block = await client.made("/v1/credits/grants", {"end_user_id": "u", "amount": 5})
    assert datetime.fromisoformat(block["granted_at"]) == begun_at + 2 * DAY
    live = await tenant.live.made("/v1/customers", {"end_user_id": "u"})
    assert datetime.fromisoformat(live["created_at"]) < begun_at
    connection = await asyncpg.connect(urls.owner)
    remembered = await connection.fetchval("SELECT created_at FROM idempotency_keys WHERE key = 'key'")
    made = await connection.fetchval(
        "SELECT created_at FROM customers WHERE environment_id = $1", tenant.environment_id
    )
    await connection.close()
    assert (remembered < begun_at, made) == (True, begun_at)


async def test_an_account_is_loaded_with_its_clock(core: Core, tenant: Tenant) -> None:
    """Those that are in Redis when time is frozen are told, and those that come later bring it with them."""
    for end_user_id in ("early", "late"):
        if end_user_id == "late":
            begun_at = await freeze(tenant.sandbox)
        await tenant.sandbox.made("/v1/customers", {"end_user_id": end_user_id})
    views = [await core.parts.redis.read_account(tenant.environment_id, name) for name in ("early", "late")]
    assert [view and view.frozen_at for view in views] == [to_at(begun_at)] * 2


async def test_who_asks_again_goes_on(core: Core, tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a flusher the clock stays on its way: by the same request it is sent to the same moment, not further."""
    monkeypatch.setattr(settling, "SETTLE_SECONDS", 0.2)
    client = tenant.sandbox
    begun_at = await freeze(client)
    await client.made("/v1/customers", {"end_user_id": "u"})
    expiry = {"expires_at": (begun_at + DAY).isoformat()}
    await client.made("/v1/credits/grants", {"end_user_id": "u", "amount": 5, **expiry})

    async def advance(**body: Any) -> tuple[int, str]:
        return code(await client.post("/v1/test-clock/advance", body))

    for _ in range(2):
        assert await advance(by_seconds=2 * 86_400) == (503, "test_clock_advancing")
        assert datetime.fromisoformat((await client.read("/v1/test-clock"))["advancing_to"]) == begun_at + 2 * DAY
    assert await advance(by_seconds=86_400) == (409, "test_clock_conflict")
    assert await advance(by_seconds=3 * 86_400) == (503, "test_clock_advancing")
    assert datetime.fromisoformat((await client.read("/v1/test-clock"))["advancing_to"]) == begun_at + 3 * DAY
    assert await ticks(core, tenant) == [to_at(begun_at + 2 * DAY)]


async def ticks(core: Core, tenant: Tenant) -> list[int]:
    """The moments at which `u` was ticked."""
    ref = keys.account_ref(keys.environment_ref(tenant.environment_id), "u")
    stream = await core.parts.redis.client.xrange(keys.stream(keys.partition_of(ref, PARTITIONS)))
    return [int(fields[b"t"]) for _, fields in stream if fields[b"a"] == ref]


async def test_who_freezes_later_is_on_the_way_there(
    core: Core, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until all is posted that falls due by then it stands where time is; what comes next counts from where it will."""
    monkeypatch.setattr(settling, "SETTLE_SECONDS", 0.2)
    client = tenant.sandbox
    for end_user_id in ("u", "nothing is due"):
        await client.made("/v1/customers", {"end_user_id": end_user_id})
    begun_at = datetime.now(UTC)
    expiry = {"expires_at": (begun_at + DAY).isoformat()}
    await client.made("/v1/credits/grants", {"end_user_id": "u", "amount": 5, **expiry})
    at = begun_at + 90 * DAY

    async def ask(verb: str, **body: Any) -> tuple[int, str]:
        return code(await client.post(f"/v1/test-clock/{verb}", body))

    async def shown() -> tuple[datetime, datetime]:
        clock = await client.read("/v1/test-clock")
        return datetime.fromisoformat(clock["frozen_at"]), datetime.fromisoformat(clock["advancing_to"])

    for body in ({"at": at.isoformat()}, {"at": at.isoformat()}, {}):
        assert await ask("freeze", **body) == (503, "test_clock_advancing")
        stands_at, to = await shown()
        assert begun_at <= stands_at <= begun_at + DAY + settling.STEP
        assert to == at
    assert await ask("freeze", at=(at + DAY).isoformat()) == (409, "test_clock_conflict")
    assert await ask("advance", to=(at - DAY).isoformat()) == (409, "test_clock_conflict")
    assert await ask("advance", by_seconds=86_400) == (503, "test_clock_advancing")
    assert (await shown())[1] == at + DAY
    assert await ask("freeze") == (409, "test_clock_conflict")
    assert await ticks(core, tenant) == [to_at(begun_at + DAY + settling.STEP)]
    view = await core.parts.redis.read_account(tenant.environment_id, "nothing is due")
    assert view is not None
    assert view.frozen_at == to_at(begun_at + DAY + settling.STEP)
