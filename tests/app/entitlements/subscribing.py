"""Rows of subscriptions, as the flusher leaves them, and what becomes of the accounts then."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from app.io.postgres import Transaction
from app.trail import dirty
from app.wire.ids import parse
from tests.app.core import Core, Tenant
from tests.app.schema.catalogue import connected
from tests.conftest import DatabaseUrls


async def make_variant(tenant: Tenant, key: str, *, kind: str = "base", **terms: Any) -> UUID:
    """A monthly plan of one variant; the variant's id."""
    await tenant.sandbox.made("/v1/plans", {"key": key, "name": key, "kind": kind})
    body = {"key": "monthly", "interval": "month", **terms}
    made = await tenant.sandbox.made(f"/v1/plans/{key}/variants", body)
    return parse("var", made["plan_variant_id"])


class Subscribing:
    """Subscribes customers by the tables alone."""

    def __init__(self, core: Core, tenant: Tenant, urls: DatabaseUrls) -> None:
        self.core, self.tenant, self.urls = core, tenant, urls

    async def make_customer(self, end_user_id: str) -> None:
        """A customer without a subscription."""
        await self.tenant.sandbox.made("/v1/customers", {"end_user_id": end_user_id})

    async def subscribe(self, end_user_id: str, variant_id: UUID, state: str, start: datetime, end: datetime) -> UUID:
        """A subscription to the present version of the variant, with its period; it is counted from its beginning."""
        subscription_id = uuid4()
        statement = """
            INSERT INTO subscriptions (environment_id, id, customer_id, variant_id, variant_version_id, plan_kind,
                                       state, anchor_at, period_start_at, counted_from, period_end_at, created_at,
                                       period_index, changes, is_free, rules, set_aside, used_before,
                                       updated_at)
            SELECT v.environment_id, $1, c.id, v.id, v.current_version_id, p.kind, $4, $5::timestamptz, $5, $5, $6,
                   $5::timestamptz + interval '1 microsecond' * (SELECT count(*) FROM subscriptions),
                   0, 1, false, '{}', '[]', '[]', $5
            FROM plan_variants v
            JOIN plans p ON p.environment_id = v.environment_id AND p.id = v.plan_id
            JOIN customers c ON c.environment_id = v.environment_id AND c.end_user_id = $3
            WHERE v.id = $2
        """
        async with connected(self.urls.owner) as connection:
            await connection.execute(statement, subscription_id, variant_id, end_user_id, state, start, end)
        await self.compose(end_user_id)
        return subscription_id

    async def change(self, end_user_id: str, subscription_id: UUID, **columns: Any) -> None:
        """Other columns of a subscription."""
        async with connected(self.urls.owner) as connection:
            for column, value in columns.items():
                statement = f"UPDATE subscriptions SET {column} = $2 WHERE id = $1"  # noqa: S608 - names from tests
                await connection.execute(statement, subscription_id, value)
        await self.compose(end_user_id)

    async def compose(self, end_user_id: str) -> None:
        """Have core compose the account anew, and publish it."""

        async def work(tx: Transaction) -> None:
            statement = "SELECT id FROM customers WHERE environment_id = $1 AND end_user_id = $2"
            dirty.mark(tx, await tx.connection.fetchval(statement, tx.environment, end_user_id))

        await self.core.parts.database.run(self.tenant.environment_id, work)

    async def account(self, end_user_id: str) -> Any:
        """The account's row."""
        async with connected(self.urls.owner) as connection:
            return await connection.fetchrow("SELECT * FROM accounts WHERE end_user_id = $1", end_user_id)
