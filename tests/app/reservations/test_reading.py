"""What core shows of reservations, from rows as the flusher leaves them."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from app.wire import keys
from app.wire.codes import Code
from app.wire.ids import in_partition, show
from tests.app.core import Core, Tenant
from tests.app.ledger.test_reading import customer
from tests.app.schema.catalogue import connected
from tests.app.web.test_problems import assert_problem
from tests.conftest import DatabaseUrls

START = datetime(2026, 3, 1, 10, 30, tzinfo=UTC)
CREDIT = 1_000_000


async def write(urls: DatabaseUrls, tenant: Tenant, account_id: UUID, number: int, **more: Any) -> str:
    """A reservation of `number` credits; its id as clients see it."""
    row = {
        "environment_id": tenant.environment_id,
        "id": UUID(int=number),
        "account_id": account_id,
        "feature_key": "f",
        "in_credits": False,
        "units_micro": 2 * CREDIT,
        "reserved_micro": number * CREDIT,
        "debt_micro": 0,
        "draws": "[]",
        "price_id": uuid4(),
        "opened_at": START,
        "opened_seq": number,
        "expires_at": START + timedelta(minutes=10 - number),
        "state": "open",
        "used_micro": 0,
        **more,
    }
    places = ", ".join(f"${place}" for place in range(1, len(row) + 1))
    async with connected(urls.owner) as connection:
        statement = f"INSERT INTO reservations ({', '.join(row)}) VALUES ({places})"  # noqa: S608 - names from above
        await connection.execute(statement, *row.values())
    return show("rsv", UUID(int=number))


async def test_open_ones_are_listed_by_what_falls_due_first(tenant: Tenant, urls: DatabaseUrls) -> None:
    """Page by page, with what was sent; those that have ended, and others', are not among them."""
    account_id, other = await customer(tenant), await customer(tenant, "other")
    ended = {"state": "released", "ended_at": START, "ended_seq": 9}
    ids = [
        await write(urls, tenant, account_id, 1, properties='{"a": 1.0}', idempotency_key="k"),
        await write(urls, tenant, account_id, 2, in_credits=True, units_micro=0),
    ]
    await write(urls, tenant, account_id, 3, **ended)
    await write(urls, tenant, other, 4)
    path = "/v1/customers/u/reservations"
    first = await tenant.sandbox.read(path, limit=1)
    assert first["data"] == [
        {
            "reservation_id": ids[1],
            "end_user_id": "u",
            "feature_key": "f",
            "units": None,
            "reserved": 2,
            "idempotency_key": None,
            "properties": None,
            "opened_at": "2026-03-01T10:30:00Z",
            "expires_at": "2026-03-01T10:38:00Z",
        }
    ]
    [second] = (await tenant.sandbox.read(path, limit=1, cursor=first["next_cursor"]))["data"]
    assert (second["reservation_id"], second["units"], second["reserved"]) == (ids[0], 2, 1)
    assert (second["properties"], second["idempotency_key"]) == ({"a": 1.0}, "k")
    assert (await tenant.sandbox.read(path))["next_cursor"] is None
    assert_problem(await tenant.sandbox.get("/v1/customers/nobody/reservations"), Code.UNKNOWN_CUSTOMER)


async def test_credits_show_what_is_reserved(tenant: Tenant, urls: DatabaseUrls) -> None:
    """Beside the total, which is without it."""
    account_id = await customer(tenant)
    await tenant.sandbox.made("/v1/credits/grants", {"end_user_id": "u", "amount": 10, "source": "promo"})
    async with connected(urls.owner) as connection:
        statement = "UPDATE accounts SET reserved_micro = 4000000, open_reservations = 1, total_micro = 6000000"
        await connection.execute(f"{statement} WHERE id = $1", account_id)
    credit = await tenant.sandbox.read("/v1/customers/u/credits")
    assert (credit["reserved"], credit["total"], credit["balance"]) == (4, 6, 6)


async def test_a_commit_is_pending_until_it_is_posted(core: Core, tenant: Tenant) -> None:
    """Like any event that the edge has accepted; in no other environment."""
    redis, partition = core.parts.redis, 3
    event_id = in_partition(uuid4(), partition)
    name = keys.reservation(partition, keys.environment_ref(tenant.environment_id), event_id)
    path = f"/v1/usage/events/{show('evt', event_id)}"
    assert_problem(await tenant.sandbox.get(path), Code.NOT_FOUND)
    await redis.client.hset(name, mapping={"state": "open"})
    assert_problem(await tenant.sandbox.get(path), Code.NOT_FOUND)
    for committed in ({"state": "committed"}, {"state": "expired", "late": "1:0:9:1"}):
        await redis.client.hset(name, mapping=committed)
        assert (await tenant.sandbox.read(path))["status"] == "pending"
    assert_problem(await tenant.live.get(path), Code.NOT_FOUND)
    await redis.client.delete(name)
