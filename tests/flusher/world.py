"""A ledger, a stream and a flusher on real servers, with the edge's script called by hand."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from app.embedded.valkey import EmbeddedValkey
from app.entitlements.loading import load_account
from app.entitlements.publishing import Publisher
from app.flusher.loop import Flusher, Keeping
from app.io.clock import Clock
from app.io.ids import new_id
from app.io.postgres import Database, Transaction
from app.io.redis import AccountView, RedisStore
from app.io.stream import StreamConnection
from app.ledger import service
from app.ledger.verify import VerifyReport, verify
from app.rules import totals
from app.rules.moments import NEVER_AT, to_at
from app.trail import dirty
from app.wire import keys, scripts
from app.wire.agreement import Agreement
from app.wire.events import UsagePayload, encode_usage
from app.wire.fingerprint import usage_fingerprint
from app.wire.ids import derived_id
from app.wire.reservations import (
    ReservationChange,
    ReservationEnd,
    ReservationOpening,
    ReservationState,
    encode_change,
)
from tests.databases import DatabaseUrls
from tests.waiting import wait_until_async

AGREEMENT = Agreement(partitions=4)
CREDIT = 1_000_000
PRICE = '{"kind":"per_unit","amount_micro":1000000,"per":1}'


class World:
    """One environment with the feature `calls` at one credit. `core` has the hooks that core's database has."""

    def __init__(self, urls: dict[str, str], redis_url: str, core: Database, redis: RedisStore) -> None:
        self.urls, self.redis_url, self.core, self.redis = urls, redis_url, core, redis
        self.environment_id, self.price_id, self.clock = uuid4(), uuid4(), Clock()

    async def seed(self) -> None:
        """A tenant, and a feature with its price."""
        now, digests = self.clock.now(), [secrets.token_bytes(32) for _ in "ab"]
        arguments = (uuid4(), "t", [self.environment_id, uuid4()], [uuid4(), uuid4()], digests, ["a", "b"], [], now)
        statement = "SELECT create_tenant($1, $2, $3, $4, $5, $6, $7, $8)"
        await self.core.run(None, lambda tx: tx.connection.execute(statement, *arguments))

        async def add_feature(tx: Transaction) -> None:
            feature_id = uuid4()
            await tx.connection.execute(
                "INSERT INTO features (environment_id, id, key, name, kind, created_at) "
                "VALUES ($1, $2, 'calls', 'Calls', 'metered', $3)",
                *(self.environment_id, feature_id, now),
            )
            await tx.connection.execute(
                "INSERT INTO prices (environment_id, id, feature_id, version, price, effective_at, created_at) "
                "VALUES ($1, $2, $3, 1, $4, $5, $5)",
                *(self.environment_id, self.price_id, feature_id, PRICE, now),
            )
            dirty.mark_environment(tx)

        await self.core.run(self.environment_id, add_feature)

    async def customer(self, end_user_id: str, amount: int, expires_at: datetime | None = None) -> UUID:
        """A customer who was granted `amount` credits."""
        now, customer_id = self.clock.now(), new_id(self.clock.now())

        async def make(tx: Transaction) -> None:
            await tx.connection.execute(
                "INSERT INTO customers (environment_id, id, end_user_id, created_at) VALUES ($1, $2, $3, $4)",
                *(self.environment_id, customer_id, end_user_id, now),
            )
            await service.ensure_account(tx, customer_id, end_user_id, now)

        await self.core.run(self.environment_id, make)
        await self.grant(customer_id, amount, expires_at)
        return customer_id

    async def grant(self, customer_id: UUID, amount: int, expires_at: datetime | None = None) -> None:
        """Add credits as core does."""
        now = datetime.now(UTC)
        request = service.GrantRequest(amount * CREDIT, "promo", 100, now, expires_at, paid=False, actor="test")
        await self.core.run(self.environment_id, lambda tx: service.grant(tx, customer_id, request, now))

    def ref(self, end_user_id: str) -> bytes:
        """The customer's name in Redis."""
        return keys.account_ref(keys.environment_ref(self.environment_id), end_user_id)

    async def view(self, end_user_id: str) -> AccountView:
        """The account in Redis, loaded where it is not there."""
        outcome = await load_account(self.core, self.redis, self.environment_id, end_user_id)
        assert outcome == "loaded"
        found = await self.redis.read_account(self.environment_id, end_user_id)
        assert found is not None
        return found

    async def use(
        self, end_user_id: str, key: str, units: int, now: datetime | None = None, limit: int | None = None
    ) -> Any:
        """One usage event, as an edge sends it whose clock says `now`; enforced and counted where there is a limit."""
        snapshot_id = (await self.view(end_user_id)).snapshot_id
        ref, units_micro = self.ref(end_user_id), units * CREDIT
        partition = self.redis.partition(ref)
        event_id = derived_id(ref, key.encode())
        payload = UsagePayload(event_id, "calls", units_micro, self.price_id, None, key, None)
        fingerprint = usage_fingerprint(units_micro, None, None, enforce=limit is not None)
        names = (keys.account(partition, ref), keys.stream(partition))
        head = (to_at(now or self.clock.now()), snapshot_id, units_micro, int(limit is not None), "")
        counting = ("", "", "", "", "") if limit is None else ("", "", "calls", units_micro, limit * CREDIT)
        return await self.redis.run(
            scripts.ACCEPT,
            [*names, keys.seen(partition, ref[:22], event_id), keys.used(partition, ref)],
            [*head, fingerprint, ref, encode_usage(payload), 10**8, 10**6, *counting],
        )

    async def change(
        self, end_user_id: str, change: ReservationChange, cost: int = 0, *, due_at: int = 0, used: int = 0
    ) -> None:
        """One entry about a reservation; `cost` and `used` in credits."""
        fields = ({"d": due_at} if due_at else {}) | ({"u": used * CREDIT} if used else {})
        await self.append(end_user_id, "r", encode_change(change), cost, fields)

    async def append(
        self, end_user_id: str, kind: str, payload: bytes, cost: int, more: dict[str, int] | None = None
    ) -> None:
        """One entry, as an edge's script leaves it."""
        view, ref = await self.view(end_user_id), self.ref(end_user_id)
        partition, at = self.redis.partition(ref), max(to_at(self.clock.now()), view.last_at)
        fields = {"a": ref, "k": kind, "t": at, "r": view.revision, "c": cost * CREDIT, "p": payload, **(more or {})}
        last_id = await self.redis.client.xadd(keys.stream(partition), fields)
        accepted = totals.wrap(view.accepted_micro + cost * CREDIT)
        news = {"accepted": accepted, "last_id": last_id, "last_at": at}
        await self.redis.client.hset(keys.account(partition, ref), mapping=news)

    async def reserve(self, end_user_id: str, number: int, cost: int, due_at: int = NEVER_AT) -> UUID:
        """Reserve credits for as many calls; the number names the reservation."""
        opening = ReservationOpening(
            reservation_id=UUID(int=number),
            feature_key="calls",
            units_micro=cost * CREDIT,
            in_credits=False,
            price_id=self.price_id,
            idempotency_key=f"reserve {number}",
            properties='{"a": 1}',
        )
        await self.change(end_user_id, opening, cost, due_at=due_at)
        return opening.reservation_id

    async def end(self, end_user_id: str, number: int, state: ReservationState, reserved: int, used: int = 0) -> None:
        """End a reservation; the difference comes back at once."""
        is_commit = state is ReservationState.COMMITTED
        end = ReservationEnd(
            reservation_id=UUID(int=number),
            feature_key="calls",
            state=state,
            units_micro=used * CREDIT,
            price_id=self.price_id if is_commit else None,
        )
        await self.change(end_user_id, end, used - reserved, used=used)

    async def forget(self, end_user_id: str, key: str) -> None:
        """What happens to a key of usage when its idempotency window is over."""
        ref = self.ref(end_user_id)
        partition, event_id = self.redis.partition(ref), derived_id(ref, key.encode())
        assert await self.redis.client.delete(keys.seen(partition, ref[:22], event_id))

    async def ledger(self, statement: str) -> list[Any]:
        """Rows as core sees them."""
        return await self.core.run(self.environment_id, lambda tx: tx.connection.fetch(statement))

    async def posted(self, events: int) -> None:
        """Wait until the ledger has so many events."""

        async def has_all() -> bool:
            return (await self.ledger("SELECT count(*) AS n FROM usage_events"))[0]["n"] >= events

        await wait_until_async(has_all, 20, f"{events} events to be posted")

    async def at_rest(self, end_user_id: str) -> AccountView:
        """The account once nothing of it is under way."""

        async def quiet() -> AccountView | None:
            [found] = await self.redis.read_accounts_at_rest([(self.environment_id, end_user_id)])
            return found.view if found is not None and found.quiet and not found.view.pending_micro else None

        return await wait_until_async(quiet, 20, f"{end_user_id} to come to rest")

    async def verify(self) -> VerifyReport:
        """What `quotastack ledger verify` finds."""
        return await verify(self.urls["owner"], self.redis, None, None)

    @asynccontextmanager
    async def flusher(self) -> AsyncIterator[Flusher]:
        """A flusher that runs until the block ends."""
        database = await Database.open(self.urls["quotastack_flusher"], "flusher", 2)
        stream = await StreamConnection.connect(self.redis_url, AGREEMENT)
        stop, flusher = asyncio.Event(), Flusher(database, stream, self.clock, Keeping(600, 1_000_000), "UTC")
        task = asyncio.create_task(flusher.run(stop))
        try:
            yield flusher
        finally:
            stop.set()
            await task
            await stream.close()
            await database.close()


@asynccontextmanager
async def open_world(database: DatabaseUrls, valkey: EmbeddedValkey) -> AsyncIterator[World]:
    """A world on a migrated database and an emptied Redis."""
    urls = database.roles | {"owner": database.owner}
    redis = await RedisStore.connect(valkey.url, AGREEMENT)
    await redis.client.flushall()
    await redis.check_agreement()
    publisher = Publisher(redis, Clock(), ZoneInfo("UTC"))
    core = await Database.open(urls["quotastack_core"], "core", 4, publisher.hooks())
    publisher.attach(core)
    world = World(urls, valkey.url, core, redis)
    await world.seed()
    try:
        yield world
    finally:
        await core.close()
        await redis.close()
