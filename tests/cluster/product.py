"""The whole product on a cluster, with two flushers, and a customer in each partition whose usage is noted here."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp

from app.embedded.postgres import start_postgres
from app.wire import keys
from tests.cluster.servers import Cluster
from tests.faults.customer import SPOOLED
from tests.flow.stack import Stack, Tenant, open_session
from tests.waiting import wait_until_async

PARTITIONS = 12
FLUSHERS = ("flusher", "flusher_2")
CREDITS = 1_000
FEATURE = "api_calls"
PATIENCE_SECONDS = 20.0


@asynccontextmanager
async def product_on(cluster: Cluster, directory: Path) -> AsyncIterator["Product"]:
    """All roles, ready; ended with everything that was started."""
    with start_postgres(directory / "data") as postgres:
        stack = Stack(directory, postgres, cluster, PARTITIONS=str(PARTITIONS))  # type: ignore[arg-type]
        await stack.migrate()
        stack.add("flusher", FLUSHERS[1])
        stack.start()
        try:
            async with open_session() as session:
                await stack.ready(session)
                yield await Product.make(stack, session)
        finally:
            stack.end()


class Product:
    """The stack, a tenant, and what its customers were told."""

    def __init__(self, stack: Stack, tenant: Tenant) -> None:
        self.stack, self.tenant = stack, tenant
        self.customers: dict[int, str] = {}
        """An end user by partition."""
        self.granted: Counter[str] = Counter()
        """Beyond CREDITS, by end user."""
        self.acknowledged: dict[str, str] = {}
        """End user by key; each is one credit."""

    @classmethod
    async def make(cls, stack: Stack, session: aiohttp.ClientSession) -> "Product":
        """A feature at a credit a unit, and a customer with CREDITS in each partition."""
        product = cls(stack, await stack.tenant(session))
        core, environment = product.tenant.core, keys.environment_ref(product.tenant.environment_id)
        price = {"kind": "per_unit", "amount": 1, "per": 1}
        await core.created("/v1/features", {"key": FEATURE, "name": "Calls", "kind": "metered", "price": price})
        number = 0
        while len(product.customers) < PARTITIONS:
            name, number = f"customer {number}", number + 1
            product.customers.setdefault(keys.partition_of(keys.account_ref(environment, name), PARTITIONS), name)
        for name in product.customers.values():
            await core.created("/v1/customers", {"end_user_id": name})
            await core.created("/v1/credits/grants", {"end_user_id": name, "amount": CREDITS})
        return product

    async def use(self, key: str, names: Iterable[str], count: int) -> list[str]:
        """Usage of each customer under keys of this name, each until it is in the stream; the keys."""
        asked = {f"{key} {name} {number}": name for name in names for number in range(count)}
        await asyncio.gather(*[self._use(key, name) for key, name in asked.items()])
        self.acknowledged |= asked
        return list(asked)

    async def _use(self, key: str, name: str) -> None:
        body = {"end_user_id": name, "feature_key": FEATURE, "idempotency_key": key}

        async def is_taken_in() -> bool:
            answer = await self.tenant.edge.post("/v1/usage", body)
            assert answer.status in (HTTPStatus.ACCEPTED, HTTPStatus.SERVICE_UNAVAILABLE), answer.body
            return answer.status == HTTPStatus.ACCEPTED and answer.body.get("durability") != SPOOLED

        await wait_until_async(is_taken_in, PATIENCE_SECONDS, f"{key} to be in the stream")

    async def grant(self, name: str, amount: int) -> None:
        """Credit for a customer: it stands once it is answered, wherever it can be published."""
        await self.tenant.core.created("/v1/credits/grants", {"end_user_id": name, "amount": amount})
        self.granted[name] += amount

    async def batch(self, key: str) -> None:
        """An event of each customer in one request."""
        events = [
            {"end_user_id": name, "feature_key": FEATURE, "idempotency_key": f"{key} {name}"}
            for name in self.customers.values()
        ]
        answer = await self.tenant.edge.post("/v1/usage/batch", {"events": events})
        assert [result["status"] for result in answer.body["results"]] == ["accepted"] * len(events), answer.body
        self.acknowledged |= {str(event["idempotency_key"]): str(event["end_user_id"]) for event in events}

    async def reserve(self, key: str) -> None:
        """A reservation of each customer of which one credit is used."""
        for name in self.customers.values():
            body = {"end_user_id": name, "feature_key": FEATURE, "units": 50, "idempotency_key": f"{key} {name}"}
            opened = await self.tenant.edge.created("/v1/reservations", body)
            path = f"/v1/reservations/{opened['reservation_id']}/commit"
            assert (await self.tenant.edge.post(path, {"units": 1})).status == HTTPStatus.OK
            self.acknowledged[f"{key} {name}"] = name

    async def reserve_for_a_moment(self, names: Iterable[str], seconds: int) -> None:
        """A reservation of each of these customers that nobody will end."""
        for name in names:
            body = {"end_user_id": name, "feature_key": FEATURE, "units": 50, "ttl_seconds": seconds}
            await self.tenant.edge.created("/v1/reservations", body)

    async def nothing_reserved(self, names: Iterable[str]) -> None:
        """Wait until everything is back that was reserved; only core is asked, which expires nothing."""
        for name in names:

            async def is_back(name: str = name) -> bool:
                credit = (await self.tenant.core.get(f"/v1/customers/{name}/credits")).body
                return (credit["reserved"], credit["balance"]) == (0, credit["total"])

            await wait_until_async(is_back, PATIENCE_SECONDS, f"what {name} has reserved to be back")

    async def events(self, name: str) -> Any:
        """What the ledger has of a customer."""
        return (await self.tenant.core.get("/v1/usage/events", end_user_id=name, limit="1000")).body["data"]

    async def prove(self, without: Iterable[str] = ()) -> None:
        """The ledger has what was acknowledged, once, and nothing else; but for these keys. All figures agree."""
        await self.prove_of(self.customers.values(), without)
        assert (await self.stack.verify()).findings == []

    async def prove_of(self, names: Iterable[str], without: Iterable[str] = ()) -> None:
        """The same, of these customers."""
        lost = set(without)
        used = Counter(name for key, name in self.acknowledged.items() if key not in lost)
        for name in names:
            left = CREDITS + self.granted[name] - used[name]

            async def is_at_rest(name: str = name, left: int = left) -> bool:
                credit = (await self.tenant.core.get(f"/v1/customers/{name}/credits")).body
                asked = {"end_user_id": name, "feature_key": FEATURE}
                check = await self.tenant.edge.get("/v1/entitlements/check", **asked)
                figures = (credit.get("total"), credit.get("balance"), check.body.get("balance"))
                return figures == (left, left, left) and not credit["pending"]

            await wait_until_async(is_at_rest, PATIENCE_SECONDS, f"{name} to have {left}")
            found = sorted(event["idempotency_key"] for event in await self.events(name))
            expected = sorted(key for key, whose in self.acknowledged.items() if whose == name and key not in lost)
            assert found == expected

    async def incarnations(self) -> dict[int, UUID | None]:
        """Whose memory each partition is."""
        redis = await self.stack.redis()
        try:
            return {p: (await redis.read_stream_end(p)).incarnation for p in self.customers}
        finally:
            await redis.close()
