"""What was done and never answered: whoever asks again under the same key gets the answer of the first time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from app.wire import keys
from tests.faults.customer import END_USER, FEATURE, Customer
from tests.faults.links import LinkedStack
from tests.faults.proxy import Way
from tests.waiting import wait_until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")

SECONDS = 20
SENT = {"end_user_id": END_USER, "feature_key": FEATURE, "units": 7, "idempotency_key": "once"}


async def warm_up(linked: LinkedStack, session: aiohttp.ClientSession) -> Customer:
    """A customer whose key and plan the one worker knows: its next event is one script and nothing else."""
    customer = await Customer.make(await linked.tenant(session))
    await customer.use("before")
    return customer


async def entries(linked: LinkedStack, customer: Customer) -> int:
    """What the stream has of the customer's usage."""
    redis = await linked.stack.redis()
    ref = keys.account_ref(keys.environment_ref(customer.tenant.environment_id), END_USER)
    stream = await redis.client.xrange(keys.stream(redis.partition(ref)))
    await redis.close()
    return sum(fields[b"a"] == ref and fields[b"k"] == b"u" for _, fields in stream)


async def until_done(linked: LinkedStack, customer: Customer) -> None:
    """Wait until the event is in the stream, after the one that `warm_up` left there."""

    async def is_done() -> bool:
        return await entries(linked, customer) == 2

    await wait_until_async(is_done, SECONDS, "the script to have run")


async def ask_again(linked: LinkedStack, customer: Customer) -> None:
    """The same request: the stored answer, which says so; the ledger has the event once."""

    async def answer() -> Any:
        found = await customer.tenant.edge.post("/v1/usage", SENT)
        return found if found.status == 202 else None

    found = await wait_until_async(answer, SECONDS, "the event to be acknowledged")
    assert found.headers["Idempotent-Replayed"] == "true"
    assert (found.body["cost"], found.body["balance"]) == (7, 992)
    customer.acknowledged["once"] = 7
    await customer.prove(linked.stack)


@pytest.mark.parametrize("passed", [0, 1, 150], ids=["nothing", "a byte", "half of the answer"])
async def test_the_answer_is_lost_on_its_way_to_the_client(
    linked: LinkedStack, session: aiohttp.ClientSession, passed: int
) -> None:
    """The edge has answered, and the client has the beginning of it, or nothing."""
    customer = await warm_up(linked, session)
    linked.links["client-edge"].cut_after(Way.TO_CLIENT, passed)
    with pytest.raises(aiohttp.ClientError):
        await customer.tenant.edge.post("/v1/usage", SENT)
    await until_done(linked, customer)
    await ask_again(linked, customer)


async def test_the_answer_is_lost_on_its_way_to_the_edge(linked: LinkedStack, session: aiohttp.ClientSession) -> None:
    """The script has run, and the edge does not know: 503, and nothing is sent again by itself."""
    customer = await warm_up(linked, session)
    linked.links["edge-valkey"].stall(Way.TO_CLIENT)
    answering = asyncio.create_task(customer.tenant.edge.post("/v1/usage", SENT))
    await until_done(linked, customer)
    linked.links["edge-valkey"].cut()
    answer = await answering
    assert (answer.status, answer.body["code"]) == (503, "store_unavailable")
    await linked.heal()
    await ask_again(linked, customer)


async def test_the_edge_dies_between_script_and_answer(linked: LinkedStack, session: aiohttp.ClientSession) -> None:
    """Kill -9 while the reply of Redis is on its way: the next edge gives the answer that this one never had."""
    customer = await warm_up(linked, session)
    linked.links["edge-valkey"].stall(Way.TO_CLIENT)
    answering = asyncio.create_task(customer.tenant.edge.post("/v1/usage", SENT))
    await until_done(linked, customer)
    await linked.stack.kill("edge")
    with pytest.raises(aiohttp.ClientError):
        await answering
    await linked.heal()
    linked.stack.start("edge")
    await linked.stack.ready(session)
    await ask_again(linked, customer)


async def lose_the_answer_of_core(linked: LinkedStack) -> None:
    """Core has committed and answered, and the client has nothing of it."""
    linked.links["client-core"].cut_after(Way.TO_CLIENT, 0)


async def lose_the_answer_of_postgres(linked: LinkedStack) -> None:
    """One of the answers of Postgres, perhaps to COMMIT, does not reach core."""
    linked.links["core-postgres"].cut_after(Way.TO_CLIENT, 0)


@pytest.mark.parametrize(
    "lose", [lose_the_answer_of_core, lose_the_answer_of_postgres], ids=["core to client", "Postgres to core"]
)
async def test_a_grant_whose_answer_is_lost(
    linked: LinkedStack, session: aiohttp.ClientSession, lose: Callable[[LinkedStack], Awaitable[None]]
) -> None:
    """Asked for again under its key until it is answered, it adds its credit once."""
    customer = await Customer.make(await linked.tenant(session))
    await lose(linked)
    first = await customer.grant("once", 50)
    assert customer.seen.total() - customer.seen["accepted"] >= 1
    customer.credits -= 50  # the next is no other grant
    assert (await customer.grant("once", 50))["credit_block_id"] == first["credit_block_id"]
    await customer.prove(linked.stack)


@pytest.mark.parametrize("count", range(0, 2_000, 250))
async def test_postgres_is_lost_anywhere_in_a_grant(
    linked: LinkedStack, session: aiohttp.ClientSession, count: int
) -> None:
    """Whichever of its statements got through, the commit among them: one grant, one answer."""
    customer = await Customer.make(await linked.tenant(session))
    linked.links["core-postgres"].cut_after(Way.TO_CLIENT, count)
    await customer.grant("once", 50)
    await linked.heal()
    await customer.prove(linked.stack)
