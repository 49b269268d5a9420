"""One running stack for the tests of this folder, and a shop on it: a tenant, what it sells, what SDKs find of it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
import pytest_asyncio

from tests.flow.stack import Client, Stack, open_session, running_stack
from tests.ports import free_ports
from tests.sdks.clients import KINDS, Kind, Python, python
from tests.sdks.gate import Gate, gate_to

CREDITS = 50_000
"""What the plan grants a month."""
METERED: Mapping[str, Mapping[str, Any]] = {
    "ai_request": {"kind": "per_unit", "amount": 1, "per": 1},
    "api_calls": {"kind": "per_unit", "amount": 1, "per": 1},
    "input_tokens": {"kind": "per_unit", "amount": 2, "per": 1000},
    "cached_input_tokens": {"kind": "per_unit", "amount": 1, "per": 1000},
    "cache_write_tokens": {"kind": "per_unit", "amount": 3, "per": 1000},
    "output_tokens": {"kind": "per_unit", "amount": 8, "per": 1000},
    "reasoning_tokens": {"kind": "per_unit", "amount": 8, "per": 1000},
}
"""Features of the plan, and their prices."""
REPORTS, SEATS = 2, 3
"""The plan has so many of the metered `reports` a period, and of the gauge `seats`; it has no metered `video`."""


@dataclass(frozen=True)
class Shop:
    """A tenant whose customers subscribe to the plan variant `plan_variant_id`, or top up with the package `burst`.

    All tests share it, so each takes customers of its own.
    """

    stack: Stack
    key: str
    plan_variant_id: str
    larger_variant_id: str
    """Of the same plan, with twice the credit."""

    @property
    def variables(self) -> dict[str, str]:
        """What an SDK finds in its environment, and for tests in other languages the plan's variant."""
        return {
            "QUOTASTACK_KEY": self.key,
            "QUOTASTACK_URL": self.stack.core_url,
            "QUOTASTACK_EDGE_URL": self.stack.edge_url,
            "QUOTASTACK_TEST_PLAN_VARIANT_ID": self.plan_variant_id,
            "QUOTASTACK_TEST_LARGER_VARIANT_ID": self.larger_variant_id,
        }

    def core(self, session: aiohttp.ClientSession) -> Client:
        """A plain client, to see what an SDK did."""
        return Client(session, self.stack.core_url, self.key)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Core, edge with two workers, flusher and jobs on servers of their own."""
    ports = dict(zip(("FLUSHER_METRICS_PORT", "JOBS_METRICS_PORT"), map(str, free_ports(2)), strict=True))
    async with running_stack(tmp_path_factory.mktemp("stack"), **ports) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shop(stack: Stack) -> Shop:
    """A tenant that sells something."""
    async with open_session() as session:
        tenant = await stack.tenant(session, "shop")
        return Shop(stack, tenant.sandbox_key, *await open_shop(tenant.core))


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A client session of the test's own."""
    async with open_session() as opened:
        yield opened


async def open_shop(core: Client) -> list[str]:
    """Make features, plan and package; the ids of the plan's variants."""
    limited = {key: {"kind": "per_unit", "amount": 1, "per": 1} for key in ("reports", "video")}
    for key, price in {**METERED, **limited}.items():
        await core.created("/v1/features", {"key": key, "name": key, "kind": "metered", "price": price})
    await core.created("/v1/features", {"key": "seats", "name": "Seats", "kind": "gauge"})
    await core.created("/v1/plans", {"key": "pro", "name": "Pro"})
    features = [
        *({"feature_key": key} for key in METERED),
        {"feature_key": "reports", "limit": REPORTS},
        {"feature_key": "seats", "value": SEATS},
    ]
    variants = [
        {"key": key, "interval": "month", "grants": [{"amount": amount, "interval": "month"}], "features": features}
        for key, amount in (("monthly", CREDITS), ("large", 2 * CREDITS))
    ]
    made = [await core.created("/v1/plans/pro/variants", variant) for variant in variants]
    package = {"key": "burst", "name": "Burst", "credits": 1_000, "price_paid": 900, "currency": "EUR"}
    await core.created("/v1/topup-packages", package)
    return [variant["plan_variant_id"] for variant in made]


@pytest.fixture
async def gate(shop: Shop) -> AsyncIterator[Gate]:
    """Between client and edge."""
    async with gate_to(shop.stack.edge_url) as opened:
        yield opened


class Maker:
    """Makes clients that go through the gate."""

    def __init__(self, kind: Kind, shop: Shop, gate: Gate, exits: AsyncExitStack) -> None:
        self._options = {"api_key": shop.key, "url": shop.stack.core_url, "edge_url": gate.url}
        self._kind: Kind = kind
        self._exits = exits

    async def __call__(self, **options: Any) -> Python:
        """A client."""
        return await self._exits.enter_async_context(python(self._kind, **(self._options | options)))


@pytest.fixture(params=KINDS)
async def make(request: pytest.FixtureRequest, shop: Shop, gate: Gate) -> AsyncIterator[Maker]:
    """Of both kinds."""
    async with AsyncExitStack() as exits:
        yield Maker(request.param, shop, gate, exits)


@pytest.fixture
async def core(shop: Shop, session: aiohttp.ClientSession) -> Client:
    """To see what happened."""
    return shop.core(session)


@pytest.fixture
async def ada(core: Client, shop: Shop) -> str:
    """A customer on the plan."""
    user = f"user_{uuid4().hex[:8]}"
    await core.created("/v1/subscriptions", {"end_user_id": user, "plan_variant_id": shop.plan_variant_id})
    return user
