"""Keys are forgotten after their time; those of the ledger never, for a repeat must not have a second effect."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from app.io.clock import Clock
from app.io.postgres import Database
from app.jobs import prune
from app.jobs.prune import KEPT, KeyPruner
from app.wire.codes import Code
from tests.app.core import Core, Tenant
from tests.app.schema.catalogue import connected
from tests.app.trail.examples import EXAMPLES
from tests.app.trail.test_every_mutation import begin, counts, send
from tests.app.web.test_problems import assert_problem
from tests.conftest import DatabaseUrls

PLAN = {"key": "p", "name": "P"}
PARTS = ("/credits/", "/topups", "/subscriptions", "/void", "/migrate")
TOUCHING = [route for route in EXAMPLES if any(part in route for part in PARTS)]
LATER = KEPT + timedelta(hours=1)


@pytest.fixture
async def pruner(urls: DatabaseUrls) -> AsyncIterator[KeyPruner]:
    """As jobs has it, with its role."""
    database = await Database.open(urls.of("quotastack_jobs"), "test", 1)
    yield KeyPruner(database, Clock())
    await database.close()


async def remembered(urls: DatabaseUrls) -> set[tuple[str, str]]:
    """(route, key) of everything that is remembered."""
    async with connected(urls.owner) as connection:
        rows = await connection.fetch(
            "SELECT route, key FROM idempotency_keys UNION ALL SELECT route, key FROM operator_keys"
        )
    return {(row["route"], row["key"]) for row in rows}


async def test_old_keys_go_and_young_ones_stay(
    core: Core, tenant: Tenant, urls: DatabaseUrls, pruner: KeyPruner
) -> None:
    """Of environments and of operators, to the moment; a key that is gone is as good as new."""
    assert (await tenant.sandbox.post("/v1/plans", PLAN, "k")).status_code == 201
    assert_problem(
        await tenant.sandbox.post("/v1/credits/grants", {"end_user_id": "u", "amount": 1}, "k"), Code.UNKNOWN_CUSTOMER
    )
    assert (await core.operator.post("/v1/tenants", {"name": "Acme"}, "k")).status_code == 201
    before = await remembered(urls)
    assert len(before) == 3
    assert await pruner.round(datetime.now(UTC) + KEPT - timedelta(hours=1)) == 0
    assert await remembered(urls) == before
    assert await pruner.round(datetime.now(UTC) + LATER) == 2
    assert await remembered(urls) == set()
    assert_problem(await tenant.sandbox.post("/v1/plans", PLAN, "k"), Code.CONFLICT)
    await tenant.sandbox.made("/v1/customers", {"end_user_id": "u"})
    granted = await tenant.sandbox.post("/v1/credits/grants", {"end_user_id": "u", "amount": 1}, "k")
    assert (granted.status_code, "idempotent-replayed" in granted.headers) == (201, False)


@pytest.mark.usefixtures("flusher")
@pytest.mark.parametrize("route", TOUCHING)
async def test_a_key_of_the_ledger_outlives_them(core: Core, urls: DatabaseUrls, pruner: KeyPruner, route: str) -> None:
    """A repeat after years is a replay, and there is one effect."""
    studio, client, call = await begin(core, urls, EXAMPLES[route])
    first = await send(client, route, call.path, call.body)
    assert first.status_code == EXAMPLES[route].status, first.text
    before = await counts(studio, call)
    await pruner.round(datetime.now(UTC) + timedelta(days=9_999))
    again = await send(client, route, call.path, call.body)
    assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
    assert await counts(studio, call) == before


async def test_a_round_is_bounded(
    tenant: Tenant, urls: DatabaseUrls, pruner: KeyPruner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest first, so many at a time, until none is left."""
    monkeypatch.setattr(prune, "KEYS_A_ROUND", 2)
    for number in range(5):
        await tenant.sandbox.post("/v1/plans", PLAN | {"key": f"p{number}"}, f"k{number}")
    assert [await pruner.round(datetime.now(UTC) + LATER) for _ in range(2)] == [2, 2]
    assert await remembered(urls) == {("POST /v1/plans", "k4")}
    assert [await pruner.round(datetime.now(UTC) + LATER) for _ in range(2)] == [1, 0]
