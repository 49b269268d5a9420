"""What the page shows of a customer: the plan, and the balance as it moves."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

import msgspec

from docs.demo import catalogue
from docs.demo.catalogue import FEATURE, Pack, Plan
from docs.demo.journal import Call, Journal, asking_for
from quotastack import AsyncQuotaStack, UnavailableError, UnreachableError

BEAT_SECONDS: Final = 0.25
PLAN_NAMES: Final = {plan.key: plan.name for plan in catalogue.PLANS}
IN_FORCE: Final = {"trialing", "active", "paused", "overdue"}


class Overview(msgspec.Struct, frozen=True):
    """Who it is, what they are on, what they have had so far, and what there is to buy."""

    customer: str
    plan: str
    plan_name: str
    credits_known: float | None
    """What is left, reserved, and was spent in the last thirty days, together."""
    fail_mode: str
    currency: str = catalogue.CURRENCY
    plans: tuple[Plan, ...] = catalogue.PLANS
    packs: tuple[Pack, ...] = catalogue.PACKS


class Beat(msgspec.Struct, frozen=True):
    """What the edge says at this moment, how long its last answer took, and the calls since the last beat."""

    balance: float | None
    reserved: float | None
    reason: str | None
    source: str
    milliseconds: float
    calls: list[Call]


class Account:
    """Looks at customers."""

    def __init__(self, metering: AsyncQuotaStack, journal: Journal, fail_mode: str) -> None:
        self._metering = metering
        self._journal = journal
        self._fail_mode = fail_mode

    async def show(self, customer: str) -> Overview:
        """Everything about them, asked for at once; while QuotaStack is away, what is known without it."""
        try:
            plan, known = await self._look(customer)
        except (UnreachableError, UnavailableError):
            plan, known = "", None
        return Overview(customer, plan, PLAN_NAMES.get(plan, plan), known, self._fail_mode)

    async def _look(self, customer: str) -> tuple[str, float]:
        usage = await self._metering.request("GET", "/v1/usage", query={"end_user_id": customer})
        spent = sum(row["credits"] for row in usage["data"])
        state = await self._metering.customer_state(customer)
        plan = next((found.plan_key for found in state.subscriptions if found.state in IN_FORCE), "")
        return plan, spent + state.credits.total + state.credits.reserved

    async def follow(self, customer: str, after: int) -> AsyncGenerator[Beat, None]:
        """A beat a quarter of a second, with the calls whose number is higher than `after`. It never ends by itself."""
        asking_for.set(None)  # this asking is not what the page tells of
        while True:
            check = await self._metering.check_entitlement(customer, FEATURE)
            calls = self._journal.after(customer, after)
            yield Beat(
                check.balance, check.reserved, check.reason, check.source, self._journal.edge_milliseconds, calls
            )
            after = calls[-1].number if calls else after
            await asyncio.sleep(BEAT_SECONDS)
