"""What a batch reads of subscriptions: of all environments together, and of each its own."""

from typing import NamedTuple
from uuid import UUID

import pytest

from app.io.postgres import Database, Transaction
from app.subscriptions.book import Subscribers
from app.subscriptions.reading import read_subscribers
from app.wire.ids import parse
from app.wire.orders import Subscribe
from tests.app.core import Core, Tenant, make_catalogue
from tests.conftest import DatabaseUrls

ENVIRONMENTS = 3


class Account(NamedTuple):
    """Whose subscriptions are read, and what an order of theirs names."""

    environment_id: UUID
    id: UUID
    end_user_id: str
    variant_id: UUID


async def open_account(tenant: Tenant, number: int) -> Account:
    """A customer in an environment of its own, which has a free plan unless its number is 0."""
    variant = await make_catalogue(tenant.sandbox, 100 + number)
    terms = {
        "key": "v",
        "interval": "month",
        "billing_mode": "postpaid",
        "grants": [{"amount": 1 + number, "once": True}],
    }
    await tenant.sandbox.made("/v1/plans", {"key": "free", "name": "F"})
    free = await tenant.sandbox.made("/v1/plans/free/variants", terms)
    if number > 0:
        wanted = {"free_plan_variant_id": free["plan_variant_id"]}
        assert (await tenant.sandbox.send("PATCH", "/v1/environment", json=wanted)).status_code == 200
    customer = await tenant.sandbox.made("/v1/customers", {"end_user_id": "u"})
    return Account(tenant.environment_id, parse("cus", customer["customer_id"]), "u", parse("var", variant))


async def read(urls: DatabaseUrls, accounts: list[Account]) -> tuple[Subscribers, int]:
    """What is read for an order of each of them, and by how many statements."""
    asked = list[object]()

    async def work(tx: Transaction) -> Subscribers:
        orders = [
            Subscribe(order_id=account.id, actor="a", subscription_id=account.id, variant_id=account.variant_id)
            for account in accounts
        ]
        with tx.connection.query_logger(asked.append):
            return await read_subscribers(tx, [], list(zip(accounts, orders, strict=True)), "UTC")

    database = await Database.open(urls.of("quotastack_flusher"), "test", 1)
    try:
        return await database.run(None, work), len(asked)
    finally:
        await database.close()


@pytest.mark.usefixtures("flusher")
async def test_each_environment_has_its_own(core: Core, urls: DatabaseUrls) -> None:
    """Its free plan, if it has one, and its variants; more environments take no more statements."""
    accounts = [await open_account(await core.tenant(f"t{number}"), number) for number in range(ENVIRONMENTS)]
    found, statements = await read(urls, accounts)
    free = [found.customers[account.id].free for account in accounts]
    assert [None if terms is None else terms.grants[0].amount_micro for terms in free] == [None, 2_000_000, 3_000_000]
    named = [found.named.terms[account.variant_id].grants[0].amount_micro for account in accounts]
    assert named == [100_000_000, 101_000_000, 102_000_000]
    assert (await read(urls, accounts[-1:]))[1] == statements


@pytest.mark.usefixtures("flusher")
async def test_a_variant_of_another_environment_is_not_there(core: Core, urls: DatabaseUrls) -> None:
    """Whoever names it."""
    mine, others = [await open_account(await core.tenant(f"t{number}"), number) for number in range(2)]
    found, _ = await read(urls, [mine._replace(variant_id=others.variant_id)])
    assert found.named.terms == {}
