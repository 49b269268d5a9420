"""Processes, stores and connections of the whole product break at random under load: what clients were told is so."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from http import HTTPStatus
from pathlib import Path
from random import Random

from app.embedded.logs import tail
from tests.chaos.client import Asker, to_micro
from tests.chaos.counting import (
    LIMIT,
    LIMITED_USERS,
    RESERVING_USERS,
    TIERS,
    counted_differences,
    reserved_differences,
)
from tests.chaos.harm import Harm
from tests.chaos.operations import OPERATIONS
from tests.chaos.oracle import Ledger, Oracle, differences
from tests.chaos.posted import read_ledger
from tests.chaos.schedule import Fault, make_schedule
from tests.chaos.shop import CALLS, OPEN_USERS, PAGES, TIGHT_USERS, TOKENS, Shop
from tests.faults.links import LinkedStack, linked_stack
from tests.flow.stack import Client, Stack, Tenant, drained, make_catalogue, open_session
from tests.waiting import wait_until_async

CLIENTS = 6
REST_SECONDS = (0.02, 0.15)
"""Between two operations of a client: the load is there to be broken, not to be measured."""
PLAN_CREDITS, TIGHT_CREDITS, DIARY_CREDITS = 50_000, 50, 1_000_000
AT_REST_SECONDS = 90
MOST_SHOWN = 30
LOG_LINES = 40


async def test_what_clients_were_told_is_in_the_ledger(tmp_path: Path, chaos_seed: int, chaos_seconds: float) -> None:
    """Each acknowledged event and end of a reservation is there once at its cost, nothing else is; balances agree."""
    options = f"--chaos-seed {chaos_seed} --chaos-seconds {chaos_seconds:g}"
    say(f"\nchaos: to have this run again: make chaos ARGS='{options}'")
    async with linked_stack(tmp_path, flushers=2, EDGE_WORKERS="2") as linked, AsyncExitStack() as sessions:
        tenant = await linked.tenant(await sessions.enter_async_context(open_session()))
        oracle, troubles = Oracle(), Counter[str]()
        await make_customers(tenant, oracle)
        shops = [
            make_shop(number, tenant.edge.on(session), tenant.core.on(session), oracle, troubles, seed=chaos_seed)
            for number in range(CLIENTS)
            for session in [await sessions.enter_async_context(open_session())]
        ]
        harm = Harm(linked, Random(f"harm:{chaos_seed}"))
        try:
            await run(harm, shops, make_schedule(chaos_seed, chaos_seconds))
            await linked.stack.ready(await sessions.enter_async_context(open_session()))
            tell(harm, oracle, shops, troubles)
            await prove(linked, tenant, oracle)
        except BaseException:
            show_logs(linked.stack)
            raise
    say(f"chaos: {harm.kills} kills, {oracle.acknowledged} acknowledged events, each once ({options})")


async def make_customers(tenant: Tenant, oracle: Oracle) -> None:
    """The catalogue, and everybody with what they have at first."""
    price = {"kind": "per_unit", "amount": 3, "per": 1_000}
    await tenant.core.created("/v1/features", {"key": TOKENS, "name": "Tokens", "kind": "metered", "price": price})
    variant = await make_catalogue(tenant.core, PLAN_CREDITS, TOKENS)
    counted = {"kind": "graduated", "tiers": TIERS}
    pages = {"key": PAGES, "name": "Pages", "kind": "metered", "price": counted, "limit": LIMIT}
    await tenant.core.created("/v1/features", pages)
    for end_user_id in OPEN_USERS:
        await tenant.core.created("/v1/subscriptions", {"end_user_id": end_user_id, "plan_variant_id": variant})
        oracle.credit(end_user_id, f"{end_user_id}:plan", to_micro(PLAN_CREDITS))
    rich = (*LIMITED_USERS, *RESERVING_USERS, *map(client_name, range(CLIENTS)))
    amounts = dict.fromkeys(TIGHT_USERS, TIGHT_CREDITS) | dict.fromkeys(rich, DIARY_CREDITS)
    for end_user_id, amount in amounts.items():
        await tenant.core.created("/v1/customers", {"end_user_id": end_user_id})
        await tenant.core.created("/v1/credits/grants", {"end_user_id": end_user_id, "amount": amount})
        oracle.credit(end_user_id, f"{end_user_id}:first", to_micro(amount))


def client_name(number: int) -> str:
    """A client, and the customer that nobody else uses."""
    return f"client_{number}"


def make_shop(number: int, edge: Client, core: Client, oracle: Oracle, troubles: Counter[str], *, seed: int) -> Shop:
    """One client with a chance of its own."""
    name = client_name(number)
    shop = Shop(name, Asker(edge, troubles), Asker(core, troubles), Random(f"{name}:{seed}"), oracle, Counter())
    shop.left_micro = to_micro(DIARY_CREDITS)
    return shop


async def run(harm: Harm, shops: Sequence[Shop], schedule: Sequence[Fault]) -> None:
    """Break things while clients work; afterwards everybody finishes what they had begun."""
    over, idle = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(harm.tend(idle))
        async with asyncio.TaskGroup() as clients:
            for shop in shops:
                clients.create_task(work(shop, over))
            await harm.run(schedule)
            over.set()
        idle.set()


async def work(shop: Shop, over: asyncio.Event) -> None:
    """One operation after the other."""
    operations, weights = list(OPERATIONS), list(OPERATIONS.values())
    while not over.is_set():
        [operation] = shop.chance.choices(operations, weights)
        await operation(shop)
        shop.done[operation.__name__] += 1
        with suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), shop.chance.uniform(*REST_SECONDS))


async def prove(linked: LinkedStack, tenant: Tenant, oracle: Oracle) -> None:
    """Ledger, edge and books agree."""
    stack = linked.stack

    async def has_everything() -> bool:
        ledger = await read_ledger(stack.stores.database_url, tenant.environment_id)
        are_events_there = len(ledger.events) + len(ledger.rejected) >= oracle.acknowledged
        return are_events_there and have_ended(oracle, ledger)

    with suppress(AssertionError):  # what is missing is told one by one below
        await wait_until_async(has_everything, AT_REST_SECONDS, f"{oracle.acknowledged} events, spooled ones too")
    for end_user_id in sorted({end_user_id for end_user_id, _ in oracle.credited.values()}):
        await drained(tenant.core, end_user_id)
        await wait_until_async(partial(agrees, tenant, end_user_id), AT_REST_SECONDS, f"checks of {end_user_id}")
    ledger = await read_ledger(stack.stores.database_url, tenant.environment_id)
    found = [
        *differences(oracle, ledger, TIGHT_USERS),
        *counted_differences(oracle.sent.values(), ledger.events),
        *reserved_differences(ledger.reservations),
    ]
    assert not found, "\n".join([f"{len(found)} differences", *found[:MOST_SHOWN]])
    assert (await stack.verify()).findings == []
    assert "account_adrift" not in stack.roles["jobs"].log_path.read_text(), "jobs took for drift what was none"


def have_ended(oracle: Oracle, ledger: Ledger) -> bool:
    """Whether all reservations are there, and none is open whose end was told, or that is past due."""
    now_at = time.time_ns() // 1000
    states = {one.reservation_id: one.state for one in ledger.reservations}
    told = [one for one in oracle.reserved if one.reservation_id]
    are_as_told = all(states.get(one.reservation_id, "open") != "open" for one in told if one.state != "open")
    are_due_later = all(one.due_at > now_at for one in ledger.reservations if one.state == "open")
    return len(states) >= len(told) and are_as_told and are_due_later


async def agrees(tenant: Tenant, end_user_id: str) -> bool:
    """Whether a check says what the ledger has; credit may be about to expire."""
    credit = await tenant.core.get(f"/v1/customers/{end_user_id}/credits")
    check = await tenant.edge.get("/v1/entitlements/check", end_user_id=end_user_id, feature_key=CALLS)
    if (credit.status, check.status) != (HTTPStatus.OK, HTTPStatus.OK):
        return False
    return not credit.body["pending"] and credit.body["total"] == credit.body["balance"] == check.body["balance"]


def tell(harm: Harm, oracle: Oracle, shops: Sequence[Shop], troubles: Counter[str]) -> None:
    """What was done, in figures."""
    say(f"harm: {listed(harm.done)}")
    say(f"ended by themselves: {len(harm.own_ends)}")
    say(f"operations: {listed(sum((shop.done for shop in shops), Counter[str]()))}")
    ends = Counter(f"late {one.state}" if one.is_late else one.state for one in oracle.reserved)
    say(f"reservations as told: {listed(ends)}")
    say(f"events: {len(oracle.sent)} sent, {oracle.acknowledged} acknowledged; instead of answers: {listed(troubles)}")


def listed(counted: Counter[str]) -> str:
    """A counter in words, the most first."""
    return ", ".join(f"{what} {count}" for what, count in counted.most_common())


def show_logs(stack: Stack) -> None:
    """The end of every log: whoever has to find out why begins there."""
    for name, log in {**stack.roles, "valkey": stack.valkey, "postgres": stack.postgres}.items():
        say("\n".join([f"---- {name}", *tail(log.log_path).splitlines()[-LOG_LINES:]]))


def say(what: str) -> None:
    """Print; pytest keeps it where it is not told to show it."""
    print(what, flush=True)  # noqa: T201 - a run tells what it does
