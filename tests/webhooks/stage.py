"""Two environments with endpoints, and strangers who answer as a test says: what is sent is seen, and time is moved."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec

from app.io.clock import Clock
from app.io.outbound import Delivery
from app.io.postgres import Database
from app.jobs.deliver import Deliverer
from app.jobs.relay import Relay
from app.trail import outbox
from app.trail.outbox import EventType
from tests.conftest import DatabaseUrls
from tests.waiting import wait_until_async

KEY = "webhook-key".ljust(40, "x")
BEGINNING = datetime(2027, 1, 1, tzinfo=UTC)


TAKEN = Delivery(200, b"", None, None, 5)


class Told(msgspec.Struct):
    """What is told."""

    number: int


class SetClock(Clock):
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.at = BEGINNING

    def now(self) -> datetime:
        """Where it stands."""
        return self.at


class Sent(msgspec.Struct, frozen=True):
    """One request that came to a stranger."""

    url: str
    headers: Mapping[str, str]
    raw: bytes
    at: datetime

    @property
    def id(self) -> str:
        """The event's."""
        return self.headers["webhook-id"]

    @property
    def body(self) -> Any:
        """What was sent."""
        return msgspec.json.decode(self.raw)

    @property
    def order(self) -> tuple[str | None, int]:
        """Whose event, and its number."""
        return self.body["end_user_id"], self.body["sequence"]


Answer = Callable[[Sent], Awaitable[Delivery]]


async def take_all(_sent: Sent) -> Delivery:
    """A stranger who takes everything."""
    await asyncio.sleep(0)
    return TAKEN


def refuse(status: int | None, retry_after_seconds: int | None = None) -> Answer:
    """A stranger who answers so; None = not at all."""

    async def answer(_sent: Sent) -> Delivery:
        await asyncio.sleep(0)
        failure: Any = "timed_out" if status is None else None
        return Delivery(status, b"no", retry_after_seconds, failure, 5)

    return answer


class Stage:
    """Everything that a test of webhooks touches."""

    def __init__(self, urls: DatabaseUrls, core: Database, jobs: Database) -> None:
        self.urls, self.core, self.jobs = urls, core, jobs
        self.clock = SetClock()
        self.environment_id, self.other_id = uuid4(), uuid4()
        self.sent: list[Sent] = []
        self.answers: dict[str, Answer] = {}
        """By URL; what is not in it is taken."""
        self.relay = Relay(jobs, self.clock)

    async def owned(self, statement: str, *values: object) -> list[Any]:
        """Rows as the owner sees them."""
        connection = await asyncpg.connect(self.urls.owner)
        try:
            return await connection.fetch(statement, *values)
        finally:
            await connection.close()

    async def seed(self) -> None:
        """A tenant and its environments."""
        tenant_id = uuid4()
        await self.owned("INSERT INTO tenants VALUES ($1, 'acme', $2)", tenant_id, BEGINNING)
        for environment_id, kind in ((self.environment_id, "sandbox"), (self.other_id, "live")):
            values = (environment_id, tenant_id, kind, BEGINNING)
            await self.owned("INSERT INTO environments VALUES ($1, $2, $3, $4)", *values)

    async def endpoint(
        self, name: str, event_types: Sequence[str] | None = None, environment_id: UUID | None = None
    ) -> UUID:
        """An endpoint at https://`name`.test."""
        endpoint_id = uuid4()
        await self.owned(
            "INSERT INTO webhook_endpoints (environment_id, id, url, description, event_types, enabled, "
            "secret_version, created_at, updated_at) VALUES ($1, $2, $3, '', $4, true, 1, $5, $5)",
            *(environment_id or self.environment_id, endpoint_id, url(name), event_types, BEGINNING),
        )
        return endpoint_id

    async def tell(
        self,
        end_user_id: str | None,
        event_type: EventType = EventType.CREDITS_GRANTED,
        environment_id: UUID | None = None,
        number: int = 0,
    ) -> None:
        """Something happens."""
        await self.core.run(
            environment_id or self.environment_id,
            lambda tx: outbox.leave(tx, event_type, end_user_id, Told(number), self.clock.now()),
        )

    async def placed(self) -> None:
        """All that happened has its place and waits."""
        while await self.relay.round(self.clock.now()):
            pass

    async def post(self, address: str, headers: Mapping[str, str], body: bytes) -> Delivery:
        """What stands for the network."""
        sent = Sent(address, headers, body, self.clock.now())
        self.sent.append(sent)
        return await self.answers.get(address, take_all)(sent)

    @asynccontextmanager
    async def delivering(self, count: int = 1) -> AsyncIterator[list[asyncio.Task[None]]]:
        """So many processes' deliverers at work, until the block ends."""
        stop = asyncio.Event()
        tasks = [asyncio.create_task(Deliverer(self.jobs, self.post, KEY, self.clock).run(stop)) for _ in range(count)]
        try:
            yield tasks
        finally:
            stop.set()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def quiet(self) -> None:
        """Wait until nothing is due."""

        async def nothing_due() -> bool:
            statement = """
                SELECT NOT EXISTS (
                    SELECT FROM webhook_queues q
                    JOIN webhook_endpoints e ON e.environment_id = q.environment_id AND e.id = q.endpoint_id
                    WHERE e.enabled AND e.deleted_at IS NULL AND (q.due_at <= $1 OR q.claim IS NOT NULL)) AS quiet
            """
            return (await self.owned(statement, self.clock.now()))[0]["quiet"]

        await wait_until_async(nothing_due, 20, "nothing to be due")

    async def delivered(self) -> None:
        """All that happened so far is placed, and sent as far as it is due."""
        await self.placed()
        async with self.delivering():
            await self.quiet()

    async def moved(self, by: timedelta) -> None:
        """Time goes on, and what becomes due by it is sent."""
        self.clock.at += by
        await self.delivered()

    async def states(self) -> list[tuple[str, int]]:
        """(state, attempts) of deliveries, in the order in which they were queued."""
        rows = await self.owned("SELECT state, attempts FROM webhook_deliveries ORDER BY place")
        return [(row["state"], row["attempts"]) for row in rows]

    async def waiting_is_right(self) -> None:
        """Every queue says how many wait in it, and there is one where any does."""
        found = await self.owned(
            "SELECT environment_id, endpoint_id, end_user_id, waiting::bigint FROM webhook_queues EXCEPT "
            "SELECT environment_id, endpoint_id, end_user_id, count(*) FROM webhook_deliveries "
            "WHERE state = 'pending' GROUP BY 1, 2, 3"
        )
        missing = await self.owned(
            "SELECT environment_id, endpoint_id, end_user_id FROM webhook_deliveries WHERE state = 'pending' EXCEPT "
            "SELECT environment_id, endpoint_id, end_user_id FROM webhook_queues"
        )
        assert not found
        assert not missing


def url(name: str) -> str:
    """The address of a stranger."""
    return f"https://{name}.test"


@asynccontextmanager
async def open_stage(urls: DatabaseUrls) -> AsyncIterator[Stage]:
    """A stage on a database of its own."""
    core = await Database.open(urls.of("quotastack_core"), "core", 4)
    jobs = await Database.open(urls.of("quotastack_jobs"), "jobs", 6)
    stage = Stage(urls, core, jobs)
    await stage.seed()
    try:
        yield stage
    finally:
        await core.close()
        await jobs.close()
