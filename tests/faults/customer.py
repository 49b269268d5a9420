"""A customer, and a client that goes on until each event is acknowledged; what it saw on the way is counted."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import aiohttp

from loadtests.load.judging import is_passing
from tests.flow.stack import Client, Stack, Tenant, drained
from tests.waiting import wait_until_async

ATTEMPT_SECONDS = 1.5
PATIENCE_SECONDS = 60.0
CREDITS = 1_000
MANY, SIDE_BY_SIDE = 12, 4
AT_REST_SECONDS = 15.0
"""For a flusher to take over from another, and for what core could not publish itself."""
END_USER = "customer"
FEATURE = "api_calls"


class Customer:
    """One customer of a tenant of its own, with CREDITS at first. An event costs a credit a unit."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self.seen: Counter[str] = Counter()
        """Attempts by what came of them: a code, 'accepted', or the name of an exception."""
        self.acknowledged: dict[str, int] = {}
        """Units by key."""
        self.credits = CREDITS
        """Granted so far."""

    @classmethod
    async def make(cls, tenant: Tenant) -> "Customer":
        """The feature, the customer and the credit."""
        price = {"kind": "per_unit", "amount": 1, "per": 1}
        feature = {"key": FEATURE, "name": "Calls", "kind": "metered", "price": price}
        await tenant.core.created("/v1/features", feature)
        await tenant.core.created("/v1/customers", {"end_user_id": END_USER})
        await tenant.core.created("/v1/credits/grants", {"end_user_id": END_USER, "amount": CREDITS})
        return cls(tenant)

    async def use(self, key: str, units: int = 1) -> Any:
        """Record until acknowledged; the answer's body."""
        body = {"end_user_id": END_USER, "feature_key": FEATURE, "units": units, "idempotency_key": key}

        async def is_acknowledged() -> Any:
            return await self.attempt("POST", "/v1/usage", HTTPStatus.ACCEPTED, json=body)

        answer = await wait_until_async(is_acknowledged, PATIENCE_SECONDS, f"{key} to be acknowledged")
        self.acknowledged[key] = units
        return answer

    async def grant(self, key: str, amount: int = 1) -> Any:
        """Add credit until acknowledged; the answer's body."""
        options = {"json": {"end_user_id": END_USER, "amount": amount}, "headers": {"Idempotency-Key": key}}

        async def is_acknowledged() -> Any:
            core = self.tenant.core
            return await self.attempt("POST", "/v1/credits/grants", HTTPStatus.CREATED, client=core, **options)

        body = await wait_until_async(is_acknowledged, PATIENCE_SECONDS, f"{key} to be acknowledged")
        self.credits += amount
        return body

    async def attempt(
        self, method: str, path: str, status: HTTPStatus, *, client: Client | None = None, **options: Any
    ) -> Any:
        """The body of the answer; None, and counted, where it says no more than: later, or where there is none."""
        options["timeout"] = aiohttp.ClientTimeout(total=ATTEMPT_SECONDS)
        try:
            answer = await (client or self.tenant.edge).send(method, path, **options)
        except (aiohttp.ClientError, TimeoutError) as error:
            self.seen[type(error).__name__] += 1
            return None
        if is_passing(answer.status, answer.raw):
            assert answer.headers["Retry-After"] == "1"
            self.seen[answer.body["code"]] += 1
            return None
        assert answer.status == status, answer.body
        self.seen["accepted"] += 1
        return answer.body

    async def do_many(self, do: Callable[[str, int], Awaitable[Any]], name: str) -> None:
        """`use` or `grant`, several of growing size, a few side by side."""

        async def some(first: int) -> None:
            for number in range(first, MANY, SIDE_BY_SIDE):
                await do(f"{name} {number}", number + 1)

        await asyncio.gather(*[some(first) for first in range(SIDE_BY_SIDE)])

    async def balance(self) -> Any:
        """What a check says, once there is an answer."""
        asked = {"end_user_id": END_USER, "feature_key": FEATURE}

        async def answer() -> Any:
            return await self.attempt("GET", "/v1/entitlements/check", HTTPStatus.OK, params=asked)

        return (await wait_until_async(answer, PATIENCE_SECONDS, "a check to answer"))["balance"]

    async def prove(self, stack: Stack) -> None:
        """Everything acknowledged is in the ledger, once, and nothing else is; balance, ledger and verify agree."""
        left = self.credits - sum(self.acknowledged.values())

        async def is_posted_and_published() -> bool:
            credit = await drained(self.tenant.core, END_USER)
            return credit["total"] == credit["balance"] == await self.balance() == left

        await wait_until_async(is_posted_and_published, AT_REST_SECONDS, f"a total and a balance of {left}")
        events = (await self.tenant.core.get("/v1/usage/events", end_user_id=END_USER, limit="1000")).body["data"]
        assert len(events) == len(self.acknowledged)
        assert {event["idempotency_key"]: event["units"] for event in events} == self.acknowledged
        report = await stack.verify()
        assert [found for found in report.findings if found.environment_id == self.tenant.environment_id] == []
