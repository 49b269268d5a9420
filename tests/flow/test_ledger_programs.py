"""Random programs on the running product: at the end of each its customers have what the reference says."""

import asyncio
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, replace
from http import HTTPStatus
from random import Random
from typing import Any

import pytest

from app.ledger.verify import VerifyReport, verify
from tests.flow.stack import Client, Stack, Tenant, drained
from tests.ledger_model.actions import Use
from tests.ledger_model.customer import Customer
from tests.ledger_model.over_http import Done, Http, Roles, moment_of
from tests.ledger_model.reference import Reference
from tests.ledger_model.steps import FEATURES, NAMES, STEPS, Cast, make_up
from tests.waiting import wait_until_async

PROGRAMS, STEPS_EACH, AT_ONCE = 32, 30, 8
HURRIED = 8
"""Every so manyth program has credit that expires while it runs."""
RULES = """
block drawn in part
two blocks drawn by one event
usage that makes debt
unused credit expires
debt paid from a later grant
refused for credit
duplicate answered from memory
void into a live block
void of an event with open debt
void with a refund
void of an unspent grant
void of a spent grant refused
void of a spent grant with debt
void of a voided event
order met twice
flusher stopped
flusher killed
edge killed
"""
"""What every run has to reach."""
SECONDS = 300
"""Far more than it takes."""


@dataclass(frozen=True)
class Shown:
    """What the product shows of a customer; blocks in burn order, those with credit left."""

    balance: int
    total: int
    debt: int
    blocks: list[tuple[str, int]]
    events: dict[str, tuple[int, int]]
    """Cost and overage by key."""
    sums: dict[str, int]


def expected(customer: Customer) -> Shown:
    """The same of the reference."""
    sums = {f"consumed:{feature}": amount for feature, amount in customer.consumed.items()}
    sums |= {f"issued:{source}": -amount for source, amount in customer.issued.items()}
    sums |= {"expired": customer.expired, "voided": customer.voided}
    live = sorted((block for block in customer.blocks if block.remaining), key=lambda block: block.burn_order())
    return Shown(
        customer.total,
        customer.total,
        customer.debt,
        [(block.name, block.remaining) for block in live],
        {key: (event.cost, event.debt) for key, event in customer.events.items()},
        {name: amount for name, amount in sums.items() if amount},
    )


class Program:
    """One program and its customers."""

    def __init__(self, tenant: Tenant, roles: Roles, number: int) -> None:
        self.random, self._roles = Random(number), roles
        self.cast = Cast(NAMES[: self.random.randint(1, 2)])
        self.http = Http(tenant, roles, f"p{number}", hurried=number % HURRIED == 0)
        self.trace: list[str] = []

    async def run(self) -> None:
        """Random steps, and at last one usage each, which posts what is due and pays what is owed."""
        for who in self.cast.names:
            made = await self.http.answered(
                lambda who=who: self.http.tenant.core.post("/v1/customers", {"end_user_id": self.http.end_user(who)})
            )
            assert made.status in {HTTPStatus.CREATED, HTTPStatus.CONFLICT}, made.body
        taken = 0
        while taken < STEPS_EACH:
            action = make_up(self.random, self.cast, STEPS)
            if await self.http.take(action):
                self.trace.append(str(action))
                self.cast.note(action)
                taken += 1
        await self._outlive_credit()
        for who in self.cast.names:
            await self.http.take(Use(who, "last", FEATURES[0], 1, enforce=False))

    async def _outlive_credit(self) -> None:
        """Jobs and the flusher let expire what is over, without a request."""
        for who in self.cast.names:

            async def nothing_is_over(who: str = who) -> bool:
                path = f"/v1/customers/{self.http.end_user(who)}/credits"
                body = (await self.http.answered(lambda: self.http.tenant.core.get(path))).body
                ends = [moment_of(block["expires_at"]) for block in body["blocks"] if block["expires_at"]]
                return self.http.last_expiry_at < min([moment_of(body["as_of"]), *ends])

            if self.http.last_expiry_at:
                await self._roles.start_flusher()
                await wait_until_async(nothing_is_over, 30, "credit to expire")

    async def check(self, stack: Stack, reached: Counter[str]) -> None:
        """The reference repeats what was done, at the moments that the ledger names, and has the same books."""
        reference, shown, ticks, moments = Reference(Counter()), {}, {}, {}
        for who in self.cast.names:
            reference.open(who)
            shown[who], ticks[who] = await self._shown(who, moments)
        for done in self.http.done:
            reference = self._replay(reference, done, ticks[done.who], moments)
        reached.update(reference.reached)
        for who, customer in reference.customers.items():
            assert shown[who] == expected(customer), "\n".join([*self.trace, self.http.end_user(who)])
            report = await self._verify(stack, who)
            assert (report.findings, report.counts["accounts"]) == ([], 1)

    def _replay(self, reference: Reference, done: Done, ticks: list[int], moments: dict[str, int]) -> Reference:
        """The reference after one action: at the only moment, or at one of those between which it must have been.

        `ticks`: when debt was paid, by whatever entry, as far as that has not been repeated; those of this action go.
        """
        if done.event_id is not None:
            done = replace(done, began_at=moments[done.event_id], ended_at=moments[done.event_id])
        ends = [block.expires_at for block in reference.customers[done.who].blocks]
        turns = {at for at in [*ends, *ticks] if done.began_at < at <= done.ended_at}
        errors: list[str] = []
        for at in sorted({done.began_at, done.ended_at} | turns):
            tried, passed = deepcopy(reference), [tick for tick in ticks if tick <= at]
            for tick in passed:
                tried.tick(done.who, tick)
            tried.wait_until(done.who, at)
            try:
                done.replay(tried, at)
            except AssertionError as error:
                errors.append(str(error))
            else:
                del ticks[: len(passed)]
                return tried
        raise AssertionError("\n".join([*self.trace, self.http.end_user(done.who), *errors]))

    async def _shown(self, who: str, moments: dict[str, int]) -> tuple[Shown, list[int]]:
        """What is shown of a customer, and when debt was paid; when its events were accepted goes into `moments`."""
        end_user_id, core = self.http.end_user(who), self.http.tenant.core
        credit = await drained(core, end_user_id)
        check = await self.http.answered(
            lambda: self.http.tenant.edge.get(
                "/v1/entitlements/check", end_user_id=end_user_id, feature_key=FEATURES[0]
            )
        )
        events = await pages(core, "/v1/usage/events", end_user_id=end_user_id)
        moments |= {event["event_id"]: moment_of(event["accepted_at"]) for event in events}
        transactions = (await pages(core, f"/v1/customers/{end_user_id}/ledger"))[::-1]
        sums = Counter[str]()
        for transaction in transactions:
            for line in transaction["lines"]:
                sums[line["account"]] += line["amount"]
        names = {block_id: name for name, block_id in self.http.blocks.items()}
        shown = Shown(
            check.body["balance"],
            credit["total"],
            credit["debt"],
            [(names[block["credit_block_id"]], block["remaining"]) for block in credit["blocks"]],
            {event["idempotency_key"]: (event["cost"], event["overage"]) for event in events},
            {name: amount for name, amount in sums.items() if amount and not name.startswith(("block:", "debt"))},
        )
        return shown, [moment_of(t["posted_at"]) for t in transactions if t["kind"] == "debt_payment"]

    async def _verify(self, stack: Stack, who: str) -> VerifyReport:
        redis = await stack.redis()
        try:
            environment_id = self.http.tenant.environment_id
            return await verify(stack.stores.database_url, redis, environment_id, self.http.end_user(who))
        finally:
            await redis.close()


async def pages(client: Client, path: str, **query: str) -> list[Any]:
    """All of a list."""
    found, cursor = list[Any](), dict[str, str]()
    while True:
        answer = await client.get(path, limit="1000", **query, **cursor)
        assert answer.status == HTTPStatus.OK, answer.body
        found += answer.body["data"]
        if not answer.body["next_cursor"]:
            return found
        cursor = {"cursor": answer.body["next_cursor"]}


@pytest.mark.slow
@pytest.mark.timeout(SECONDS)
async def test_customers_have_what_the_reference_says(stack: Stack, tenant: Tenant) -> None:
    """Answers, balances, blocks, events, sums of the ledger, whatever is stopped or killed; and verify is content."""
    for feature in FEATURES:
        price = {"kind": "per_unit", "amount": 1, "per": 1}
        await tenant.core.created("/v1/features", {"key": feature, "name": feature, "kind": "metered", "price": price})
    reached = Counter[str]()
    roles, turns = Roles(stack, reached), asyncio.Semaphore(AT_ONCE)

    async def play(program: Program) -> None:
        async with turns:
            await program.run()
            await roles.start_flusher()
            await program.check(stack, reached)

    try:
        async with asyncio.TaskGroup() as playing:
            for number in range(PROGRAMS):
                playing.create_task(play(Program(tenant, roles, number)))
    finally:
        await roles.start_flusher()
    missed = [rule for rule in RULES.strip().splitlines() if not reached[rule]]
    assert not missed, f"no program reached: {', '.join(missed)}"
