"""Reservations on the running product: from the edge's answer to the ledger's entries, and through a loss of Redis."""

import asyncio
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from app.wire.held import EXPIRY_LAG_SECONDS
from tests.flow.stack import Answer, Client, Tenant, drained, open_session, running_stack
from tests.flow.test_voids import balance, subscribe
from tests.waiting import wait_until_async


async def reserve(client: Client, key: str, **more: Any) -> Answer:
    """Reserve calls of `u`."""
    body = {"end_user_id": "u", "feature_key": "api_calls", "idempotency_key": key, **more}
    return await client.post("/v1/reservations", body)


async def opened(client: Client, key: str, **more: Any) -> str:
    """The path of a new reservation of `u`."""
    answer = await reserve(client, key, **more)
    assert answer.status == HTTPStatus.CREATED, answer.body
    return f"/v1/reservations/{answer.body['reservation_id']}"


async def comes_to(tenant: Tenant, total: int, reserved: int = 0) -> None:
    """Wait until the ledger has posted what comes back, for an entry that costs nothing is never pending."""

    async def is_there() -> bool:
        credit = (await tenant.core.get("/v1/customers/u/credits")).body
        return (credit["total"], credit["reserved"], credit["pending"]) == (total, reserved, 0)

    await wait_until_async(is_there, 10, f"a total of {total}")
    assert await balance(tenant, "u") == total


async def kinds(tenant: Tenant) -> list[str]:
    """Of the ledger's entries, the oldest first."""
    entries = (await tenant.core.get("/v1/customers/u/ledger")).body["data"]
    return [entry["kind"] for entry in reversed(entries)]


async def test_what_is_reserved_is_charged_as_it_was_used(tenant: Tenant) -> None:
    """Through core and through the edge: less, more, nothing; the ledger comes to the same, and proves it."""
    await subscribe(tenant, "u", 100)
    paths = [
        await opened(client, f"k{n}", units=20) for n, client in enumerate([tenant.core, tenant.edge, tenant.edge])
    ]
    assert await balance(tenant, "u") == 40
    for path, verb, sent in zip(paths, ("commit", "commit", "release"), ({"units": 5}, {"units": 30}, {}), strict=True):
        answer = await tenant.core.post(f"{path}/{verb}", sent)
        again = await tenant.edge.post(f"{path}/{verb}", sent)
        assert (answer.status, again.raw) == (HTTPStatus.OK, answer.raw)
    assert await balance(tenant, "u") == 65
    credit = await drained(tenant.core, "u")
    assert (credit["total"], credit["balance"], credit["reserved"]) == (65, 65, 0)
    assert await kinds(tenant) == [
        "grant",
        *["reservation_opened"] * 3,
        *["reservation_committed"] * 2,
        "reservation_released",
    ]


async def test_a_client_that_dies_gets_its_credit_back_and_may_commit_late(tenant: Tenant) -> None:
    """Jobs expires it within the lag that is promised; the late commit is charged once, in the ledger too."""
    await subscribe(tenant, "u", 100)
    path = await opened(tenant.edge, "k", units=20, ttl_seconds=1)
    due_at = datetime.fromisoformat((await tenant.edge.get(path)).body["expires_at"])

    async def is_back() -> bool:
        return await balance(tenant, "u") == 100

    await wait_until_async(is_back, 10, "the credit to be back")
    assert (datetime.now(UTC) - due_at).total_seconds() < EXPIRY_LAG_SECONDS
    answers = await asyncio.gather(*(tenant.edge.post(f"{path}/commit", {"units": 7}) for _ in range(5)))
    assert {(answer.status, answer.raw) for answer in answers} == {(HTTPStatus.OK, answers[0].raw)}
    assert answers[0].body["late"]
    credit = await drained(tenant.core, "u")
    assert (credit["total"], credit["reserved"]) == (93, 0)
    assert await kinds(tenant) == ["grant", "reservation_opened", "reservation_expired", "usage"]


async def test_reservations_outlive_the_loss_of_redis(tmp_path: Path) -> None:
    """Open and ended, all posted: after everything in Redis is gone each retry is answered, and nothing moves twice."""
    async with running_stack(tmp_path) as stack, open_session() as session:
        tenant = await stack.tenant(session)
        await subscribe(tenant, "u", 100)
        paths = [await opened(tenant.edge, f"k{n}", units=20) for n in range(3)]
        assert (await tenant.edge.post(f"{paths[1]}/commit", {"units": 5})).body["charged"] == 5
        assert (await tenant.edge.post(f"{paths[2]}/release", {})).body["charged"] == 0
        assert (await drained(tenant.core, "u"))["total"] == 75
        redis = await stack.redis()
        names = [
            key async for key in redis.client.scan_iter("*") if b"rsv:" in key or b"acct:" in key or b":due" in key
        ]
        await redis.client.delete(*names)
        await redis.close()
        again = await reserve(tenant.edge, "k0", units=20)
        assert (again.status, again.body["reserved"], again.body["balance"]) == (HTTPStatus.CREATED, 20, 75)
        assert again.headers["Idempotent-Replayed"] == "true"
        states = [(await tenant.edge.get(path)).body["state"] for path in paths]
        assert states == ["open", "committed", "released"]
        calls = [("commit", {"units": 5}), ("commit", {"units": 5}), ("release", {})]
        for path, (verb, sent) in zip(paths, calls, strict=True):
            assert (await tenant.edge.post(f"{path}/{verb}", sent)).status == HTTPStatus.OK
        assert (await tenant.edge.post(f"{paths[1]}/release", {})).body["context"] == {"state": "committed"}
        await comes_to(tenant, 90)
        report = await stack.verify()
        assert report.findings == []


async def test_a_key_is_charged_once_though_redis_forgets_it(tmp_path: Path) -> None:
    """Opened again, it holds credit again; however it ends then, all of that comes back, and the books prove."""
    async with running_stack(tmp_path) as stack, open_session() as session:
        tenant = await stack.tenant(session)
        await subscribe(tenant, "u", 100)
        path = await opened(tenant.edge, "k", units=20)
        assert (await tenant.edge.post(f"{path}/commit", {"units": 5})).body["charged"] == 5
        assert (await drained(tenant.core, "u"))["total"] == 95
        redis = await stack.redis()
        for verb, sent, charged in (("commit", {"units": 8}, 8), ("release", {}, 0)):
            await redis.client.delete(*[key async for key in redis.client.scan_iter("*rsv:*")])
            again = await reserve(tenant.edge, "k", units=20)
            assert (again.status, again.body["balance"]) == (HTTPStatus.CREATED, 75)
            assert path.endswith(again.body["reservation_id"])
            await comes_to(tenant, 75, 20)
            assert (await tenant.edge.post(f"{path}/{verb}", sent)).body["charged"] == charged
            await comes_to(tenant, 95)
        await redis.client.delete(*[key async for key in redis.client.scan_iter("*rsv:*")])
        await redis.close()
        known = (await tenant.edge.get(path)).body
        assert (known["state"], known["charged"]) == ("committed", 5)
        assert (await kinds(tenant))[-4:] == ["reservation_opened", "reservation_released"] * 2
        assert (await stack.verify()).findings == []


async def test_credit_that_expires_while_it_is_reserved(tmp_path: Path) -> None:
    """It pays for what it was reserved for, and what comes back expires at once."""
    async with running_stack(tmp_path) as stack, open_session() as session:
        tenant = await stack.tenant(session)
        await subscribe(tenant, "u", 100)
        expires_at = datetime.fromtimestamp(datetime.now(UTC).timestamp() + 2, UTC)
        grant = {"end_user_id": "u", "amount": 10, "priority": 0, "expires_at": expires_at.isoformat()}
        await tenant.core.created("/v1/credits/grants", grant)
        path = await opened(tenant.edge, "k", units=10)

        async def is_past() -> bool:
            return datetime.now(UTC) > expires_at

        await wait_until_async(is_past, 10, "the block to expire")
        body = (await tenant.edge.post(f"{path}/commit", {"units": 4})).body
        assert (body["charged"], body["released"]) == (4, 6)
        await comes_to(tenant, 100)
        report = await stack.verify()
        assert report.findings == []
        assert report.counts["expired_micro"] == 6_000_000


async def test_counters_and_what_is_reserved_come_back(tmp_path: Path) -> None:
    """66: a limit holds over reservations, before and after Redis is emptied, and the ledger counts the same."""
    async with running_stack(tmp_path) as stack, open_session() as session:
        tenant = await stack.tenant(session)
        await subscribe(tenant, "u", 100)
        await tenant.core.send("PATCH", "/v1/features/api_calls", json={"limit": 30})
        path = await opened(tenant.edge, "k0", units=20)
        assert (await tenant.edge.post(f"{await opened(tenant.edge, 'k1', units=10)}/commit", {"units": 4})).body
        late = await opened(tenant.edge, "k2", units=1, ttl_seconds=1)
        assert (await reserve(tenant.edge, "k3", units=7)).body["code"] == "limit_reached"
        await comes_to(tenant, 76, reserved=20)
        redis = await stack.redis()
        names = [key async for key in redis.client.scan_iter("*") if b":stream" not in key and b":meta" not in key]
        await redis.client.delete(*names)
        await redis.check_agreement()
        await redis.close()
        assert (await reserve(tenant.edge, "k4", units=7)).body["context"]["used"] == 24
        assert (await tenant.edge.post(f"{late}/commit", {"units": 3})).body["late"]
        assert (await tenant.edge.post(f"{path}/commit", {"units": 5})).body["charged"] == 5
        assert await used(tenant) == 12
        assert (await reserve(tenant.edge, "k5", units=19)).body["code"] == "limit_reached"
        assert (await reserve(tenant.edge, "k6", units=18)).status == HTTPStatus.CREATED
        await comes_to(tenant, 70, reserved=18)
        assert await used(tenant) == 30
        report = await stack.verify()
        assert report.findings == []
        assert report.edge == "proved"


async def used(tenant: Tenant) -> float:
    """Units of `u` in the present period, as a check says."""
    return (await tenant.edge.get("/v1/entitlements/check", end_user_id="u", feature_key="api_calls")).body["used"]
