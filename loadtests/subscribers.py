"""Customers who are all on one plan, and whose months end within one minute.

They live in the past, month after month: what is due is what lies before the moment at which it is looked for. The
product's own code makes the catalogue, and the flusher subscribes them, by orders in the streams.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from app.io.postgres import Database, Transaction
from app.metering import service as metering
from app.metering.schemas import NewFeature, PerUnitPriceBody
from app.plans import service as plans
from app.plans.schemas import FeatureInclusion, GrantTerms, NewPlan, VariantTerms
from app.rules.chain import GENESIS
from app.rules.credits import MICRO
from app.rules.moments import NEVER_AT, to_at, to_datetime
from app.rules.periods import Calendar, IntervalUnit, start_of
from app.rules.terms import BillingMode
from app.web.amounts import CreditsAboveZero, UnitLimit, UnitPrice
from app.wire import keys, scripts
from app.wire.agreement import Agreement
from app.wire.ids import parse
from app.wire.orders import Subscribe, encode_order
from loadtests.backlog import ends_of_streams
from loadtests.measuring import WrongResult

ZONE = "UTC"
MONTHS = Calendar(to_at(datetime(2010, 1, 1, tzinfo=UTC)), IntervalUnit.MONTH, 1, ZONE)
"""From the first one on there is room for more than a run has rounds."""
WITHIN = timedelta(minutes=1)
"""From the first end of a month to the last."""
GRANT_MICRO = 1_000 * MICRO
"""Of every month; what is left of it expires with the month."""
FEATURE, PLAN, VARIANT = "api_calls", "pro", "monthly"
MOST_UNITS = 100_000
"""Of a month. So units are counted, by the months of the subscription."""
PIPELINE_ORDERS = 1_000


class Subscribers:
    """The customers of one environment. All of them are in the same month."""

    def __init__(self, owner_url: str, redis: Any) -> None:  # noqa: ANN401 - redis-py types little
        self._owner_url = owner_url
        self._redis = redis
        self._partitions = Agreement().partitions
        self._environment_id = uuid4()
        self._month = 0
        self.count = 0
        self._variant_id = asyncio.run(_make_catalogue(owner_url, self._environment_id, self._month_at()))

    def pass_month(self) -> datetime:
        """From now on their next month is due; the moment by which all of them are."""
        self._month += 1
        return self._month_at() + WITHIN

    def _month_at(self) -> datetime:
        return to_datetime(start_of(MONTHS, self._month))

    def order_more(self, count: int) -> dict[int, str]:
        """Have so many more subscribe in the present month; where their orders end in the streams. Raises WrongResult.

        They are loaded, as customers are of whom anything was asked.
        """
        numbers = range(self.count, self.count + count)
        end_user_ids = [f"user_bench_{number:06}" for number in numbers]
        asyncio.run(_insert_customers(self._owner_url, self._environment_id, end_user_ids, self._month_at()))
        self._redis.script_load(scripts.ORDER.text)
        for start in range(0, count, PIPELINE_ORDERS):
            pipe = self._redis.pipeline(transaction=False)
            chunk = end_user_ids[start : start + PIPELINE_ORDERS]
            for place, end_user_id in enumerate(chunk, start):
                self._order(pipe, end_user_id, self._month_at() + WITHIN * place / count)
            if (answers := pipe.execute()).count(b"ok") != len(chunk):
                raise WrongResult(f"an order was refused: {set(answers)}")
        self.count += count
        return ends_of_streams(self._redis)

    def _order(self, pipe: Any, end_user_id: str, at: datetime) -> None:  # noqa: ANN401 - redis-py types little
        ref = keys.account_ref(keys.environment_ref(self._environment_id), end_user_id)
        partition = keys.partition_of(ref, self._partitions)
        account = keys.account(partition, ref)
        order = Subscribe(order_id=uuid4(), actor="bench", subscription_id=uuid4(), variant_id=self._variant_id)
        pipe.hset(account, mapping=_NEW_ACCOUNT)
        script_keys = account, keys.stream(partition)
        pipe.evalsha(scripts.ORDER.digest.decode(), 2, *script_keys, to_at(at), ref, encode_order(order))

    def check(self) -> None:
        """Everybody is in the present month, and has its credit and no other. Raises WrongResult."""
        found = asyncio.run(_count_in_month(self._owner_url, self._environment_id, self._month_at()))
        expected = (self.count, self.count * GRANT_MICRO)
        if found != expected:
            raise WrongResult(f"(subscriptions in their month, total) are {found}, not {expected}")


_NEW_ACCOUNT = {
    b"revision": 0,
    b"base": 0,
    b"applied": 0,
    b"accepted": 0,
    b"last_at": 0,
    b"last_id": "0-0",
    b"valid_until": NEVER_AT,
    b"ticked": 0,
    b"snapshot": "",
    b"status": "none",
    b"floor": 0,
}
"""An account in Redis before its order."""


async def _make_catalogue(owner_url: str, environment_id: UUID, now: datetime) -> UUID:
    """An environment with a feature and a plan that is paid for after each month; the plan's variant."""
    price = PerUnitPriceBody(amount=UnitPrice(MICRO))
    feature = NewFeature(FEATURE, FEATURE, price=price, limit=UnitLimit(MOST_UNITS * MICRO))
    terms = VariantTerms(
        interval=IntervalUnit.MONTH,
        billing_mode=BillingMode.POSTPAID,
        grants=[GrantTerms(CreditsAboveZero(GRANT_MICRO), interval=IntervalUnit.MONTH)],
        features=[FeatureInclusion(FEATURE)],
        key=VARIANT,
    )

    async def work(tx: Transaction) -> UUID:
        tenant_id = uuid4()
        await tx.connection.execute("INSERT INTO tenants VALUES ($1, 'bench', $2)", tenant_id, now)
        await tx.connection.execute(
            "INSERT INTO environments VALUES ($1, $2, 'sandbox', $3)", environment_id, tenant_id, now
        )
        await metering.create_feature(tx, feature, now)
        await plans.create_plan(tx, NewPlan(PLAN, PLAN), now)
        return parse("var", (await plans.create_variant(tx, PLAN, terms, now)).plan_variant_id)

    database = await Database.open(owner_url, "bench", max_size=1)
    try:
        return await database.run(environment_id, work)
    finally:
        await database.close()


async def _insert_customers(owner_url: str, environment_id: UUID, end_user_ids: list[str], now: datetime) -> None:
    """Customers with their empty accounts, as core makes them for an order."""
    ids = [uuid4() for _ in end_user_ids]
    connection = await asyncpg.connect(owner_url)
    try:
        async with connection.transaction():
            await connection.execute(_INSERT_CUSTOMERS, environment_id, ids, end_user_ids, now)
            await connection.execute(_INSERT_ACCOUNTS, environment_id, ids, end_user_ids, now, GENESIS)
    finally:
        await connection.close()


_INSERT_CUSTOMERS = """
INSERT INTO customers SELECT $1, customer.*, $4 FROM unnest($2::uuid[], $3::text[]) AS customer
"""
_INSERT_ACCOUNTS = """
INSERT INTO accounts (environment_id, id, end_user_id, revision, seq, total_micro, debt_micro, applied_micro, posted_at,
                      head_hash, subscription_status, created_at)
SELECT $1, customer.*, 0, 0, 0, 0, 0, $4, $5, 'none', $4 FROM unnest($2::uuid[], $3::text[]) AS customer
"""


async def _count_in_month(owner_url: str, environment_id: UUID, month_at: datetime) -> tuple[int, int]:
    """How many subscriptions are in the month that began within a minute after `month_at`, and the sum of credit."""
    connection = await asyncpg.connect(owner_url)
    try:
        return (
            await connection.fetchval(
                "SELECT count(*) FROM subscriptions WHERE environment_id = $1 AND period_start_at >= $2 "
                "AND period_start_at < $3",
                *(environment_id, month_at, month_at + WITHIN),
            ),
            await connection.fetchval(
                "SELECT coalesce(sum(total_micro), 0)::bigint FROM accounts WHERE environment_id = $1", environment_id
            ),
        )
    finally:
        await connection.close()
