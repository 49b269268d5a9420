"""Stores that are killed, emptied or away: what was acknowledged stays, and what they held is found again on demand."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from signal import SIGKILL, SIGQUIT
from typing import Any

import aiohttp
import pytest

from app.wire import key_digest, keys
from tests.faults.customer import END_USER, FEATURE, Customer
from tests.faults.links import LinkedStack
from tests.flow.stack import SECRETS, drained
from tests.waiting import wait_until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")

SECONDS = 30
CHECK = {"end_user_id": END_USER, "feature_key": FEATURE}


async def test_valkey_is_killed_and_comes_back_with_its_log(
    linked: LinkedStack, session: aiohttp.ClientSession
) -> None:
    """Kill -9 with usage in the stream that nobody has posted: all of it is posted, once."""
    customer = await Customer.make(await linked.tenant(session))
    linked.stack.pause("flusher")
    await customer.do_many(customer.use, "before")
    await linked.stack.end_server(linked.stack.valkey, SIGKILL)
    linked.stack.valkey.start()
    linked.stack.resume("flusher")
    before = dict(customer.acknowledged)
    for key, units in before.items():
        await customer.use(key, units)
    await customer.use("after")
    await customer.prove(linked.stack)


async def test_postgres_is_killed_and_comes_back(linked: LinkedStack, session: aiohttp.ClientSession) -> None:
    """An immediate shutdown while usage is posted: the edge goes on, and all of it is posted once."""
    customer = await Customer.make(await linked.tenant(session))
    await customer.use("before")
    await linked.stack.end_server(linked.stack.postgres, SIGQUIT)
    await customer.do_many(customer.use, "meanwhile")
    assert set(customer.seen) == {"accepted"}
    linked.stack.postgres.start()
    await customer.use("after")
    await customer.prove(linked.stack)


def all_that_is_kept(customer: Customer, partition: int) -> dict[str, list[bytes]]:
    """The keys in Redis without which the customer cannot be answered, by what they hold."""
    environment_ref = keys.environment_ref(customer.tenant.environment_id)
    digest = key_digest.digest(SECRETS["KEY_PEPPER"].encode(), customer.tenant.sandbox_key)
    account = keys.account(partition, keys.account_ref(environment_ref, END_USER))
    return {"account": [account], "key": [keys.api_key(digest)], "plan": []}


@pytest.mark.parametrize("missing", [("account",), ("key",), ("plan",), ("account", "key", "plan")], ids="-".join)
async def test_what_valkey_has_lost_is_loaded_from_core(
    linked: LinkedStack, session: aiohttp.ClientSession, missing: tuple[str, ...]
) -> None:
    """Account, API key, plan, or all of them are gone, and the edge that knew them: asked for, they are back."""
    customer = await Customer.make(await linked.tenant(session))
    await customer.use("before")
    await drained(customer.tenant.core, END_USER)
    await linked.stack.kill("edge")
    redis = await linked.stack.redis()
    account = await redis.read_account(customer.tenant.environment_id, END_USER)
    assert account is not None
    ref = keys.account_ref(keys.environment_ref(customer.tenant.environment_id), END_USER)
    kept = all_that_is_kept(customer, redis.partition(ref)) | {"plan": [keys.plan(account.snapshot_id)]}
    lost = [key for kind in missing for key in kept[kind]]
    assert await redis.client.delete(*lost) == len(lost) == len(missing)
    linked.stack.start("edge")
    await linked.stack.ready(session)
    assert await customer.balance() == 999
    assert await redis.client.exists(*lost) == len(lost)
    await redis.close()
    await customer.use("after")
    await customer.prove(linked.stack)


async def test_without_core_what_valkey_has_lost_is_not_guessed(
    linked: LinkedStack, session: aiohttp.ClientSession
) -> None:
    """An account that is not loaded: 503 as long as core is away; who is loaded goes on; and then all is well."""
    customer, other = [await Customer.make(await linked.tenant(session)) for _ in range(2)]
    await customer.use("before")
    await other.use("before")
    await drained(customer.tenant.core, END_USER)
    redis = await linked.stack.redis()
    ref = keys.account_ref(keys.environment_ref(customer.tenant.environment_id), END_USER)
    assert await redis.client.delete(keys.account(redis.partition(ref), ref)) == 1
    await redis.close()
    await linked.stack.kill("core")
    for send in questions(customer):
        answer = await send()
        assert (answer.status, answer.body["code"]) == (HTTPStatus.SERVICE_UNAVAILABLE, "account_unavailable")
    await other.use("meanwhile")
    assert await other.balance() == 998
    linked.stack.start("core")
    await linked.stack.ready(session)
    await customer.use("after")
    for one in (customer, other):
        await one.prove(linked.stack)


def questions(customer: Customer) -> list[Callable[[], Any]]:
    """A check and an event, as coroutines to be made."""
    edge = customer.tenant.edge
    return [
        lambda: edge.get("/v1/entitlements/check", **CHECK),
        lambda: edge.post("/v1/usage", CHECK | {"units": 1, "idempotency_key": "unloaded"}),
    ]


async def test_postgres_is_away_when_credit_expires(linked: LinkedStack, session: aiohttp.ClientSession) -> None:
    """Before that moment the edge goes on alone; after it nobody is answered until what was due is posted."""
    customer = await Customer.make(await linked.tenant(session))
    expires_at = datetime.now(UTC) + timedelta(seconds=2)
    soon = {"end_user_id": END_USER, "amount": 100, "expires_at": expires_at.isoformat()}
    await customer.tenant.core.created("/v1/credits/grants", soon)
    await customer.use("at first")
    await linked.stack.end_server(linked.stack.postgres, SIGQUIT)
    await customer.use("before", 29)
    assert await customer.balance() == 1070

    async def is_past() -> bool:
        return datetime.now(UTC) > expires_at

    await wait_until_async(is_past, SECONDS, "credit to expire")
    for send in questions(customer):
        answer = await send()
        assert (answer.status, answer.body["code"]) == (HTTPStatus.SERVICE_UNAVAILABLE, "account_unavailable")
    linked.stack.postgres.start()
    await customer.use("after", 5)
    entries = (await customer.tenant.core.get(f"/v1/customers/{END_USER}/ledger")).body["data"]
    assert [entry["kind"] for entry in entries].count("expiry") == 1
    customer.credits += 30  # of the hundred, what was used in time
    await customer.prove(linked.stack)
