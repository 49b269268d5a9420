"""Core in this process on real servers: its two applications, behind plain HTTP clients."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast
from uuid import UUID

import asyncpg
import httpx
import msgspec

from app.flusher.loop import BATCHES_AT_ONCE, Flusher, Keeping
from app.io.clock import Clock
from app.io.postgres import Database
from app.io.redis import RedisStore
from app.io.stream import StreamConnection
from app.main import Parts, internal_application, open_parts, public_application
from app.settings import CoreSettings
from app.wire import keys
from app.wire.events import show_stream_id
from app.wire.ids import parse
from tests.conftest import DatabaseUrls

SECRETS = {
    "admin_token": "admin-token".ljust(40, "x"),
    "key_pepper": "pepper".ljust(40, "x"),
    "internal_secret": "internal".ljust(40, "x"),
    "webhook_key": "webhook-key".ljust(40, "x"),
}
PARTITIONS = 4
INCARNATION = UUID(int=1)
EVENTS_OF_A_FEATURE = {"key": "api_calls", "name": "API calls", "price": {"kind": "per_unit", "amount": 1}}


class Client:
    """One application with one key."""

    def __init__(self, http: httpx.AsyncClient, key: str) -> None:
        self.http = http
        self.key = key

    async def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request."""
        headers = {"authorization": f"Bearer {self.key}"} | options.pop("headers", {})
        return await self.http.request(method, path, headers=headers, **options)

    async def get(self, path: str, **params: Any) -> httpx.Response:
        """GET with a query."""
        return await self.send("GET", path, params=params or None)

    async def post(self, path: str, body: Any, key: str | None = None) -> httpx.Response:
        """POST a JSON body, perhaps under an idempotency key."""
        headers = {} if key is None else {"idempotency-key": key}
        return await self.send("POST", path, content=msgspec.json.encode(body), headers=headers)

    async def made(self, path: str, body: Any) -> Any:
        """The body of a POST that has to succeed."""
        answer = await self.post(path, body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def read(self, path: str, **params: Any) -> Any:
        """The body of a GET that has to succeed."""
        answer = await self.get(path, **params)
        assert answer.status_code == 200, answer.text
        return answer.json()


class Core:
    """What tests ask of core; each tenant has two environments of its own."""

    def __init__(self, parts: Parts, public: httpx.AsyncClient, internal: httpx.AsyncClient) -> None:
        self.parts = parts
        self.operator = Client(public, SECRETS["admin_token"])
        self.edge = Client(internal, SECRETS["internal_secret"])

    def client(self, key: str) -> Client:
        """The public application with this key."""
        return Client(self.operator.http, key)

    async def tenant(self, name: str = "acme") -> "Tenant":
        """A new tenant."""
        made = await self.operator.made("/v1/tenants", {"name": name})
        return Tenant(self.client(made["sandbox_key"]), self.client(made["live_key"]), made)


class Tenant:
    """A tenant's clients, and what was answered when it was made."""

    def __init__(self, sandbox: Client, live: Client, made: dict[str, str]) -> None:
        self.sandbox = sandbox
        self.live = live
        self.made = made
        self.environment_id = parse("env", made["sandbox_environment_id"])


async def make_catalogue(client: Client, credits_per_month: float = 50_000) -> str:
    """The feature `api_calls` and a monthly plan that includes it; the id of the plan's variant."""
    await client.made("/v1/features", EVENTS_OF_A_FEATURE)
    await client.made("/v1/plans", {"key": "pro", "name": "Pro"})
    variant = {
        "key": "monthly",
        "interval": "month",
        "grants": [{"amount": credits_per_month, "interval": "month"}],
        "features": [{"feature_key": "api_calls"}],
    }
    return (await client.made("/v1/plans/pro/variants", variant))["plan_variant_id"]


async def begin_incarnation(urls: DatabaseUrls, redis: RedisStore) -> None:
    """What a flusher does first: name the memory on both sides, where each stream ends that other tests left.

    What they left in it goes, for nobody's ledger has it any more, and a proof would miss it.
    """
    ends = [(await redis.read_stream_end(partition)).last_id for partition in range(PARTITIONS)]
    connection = await asyncpg.connect(urls.owner)
    try:
        await connection.execute(
            "INSERT INTO stream_cursors (partition, incarnation, last_id, updated_at) "
            "SELECT partition - 1, $1, last_id, now() FROM unnest($2::text[]) "
            "WITH ORDINALITY AS at (last_id, partition) "
            "ON CONFLICT (partition) DO UPDATE SET incarnation = excluded.incarnation, last_id = excluded.last_id",
            *(INCARNATION, [show_stream_id(end) for end in ends]),
        )
    finally:
        await connection.close()
    for partition in range(PARTITIONS):
        await redis.client.xtrim(keys.stream(partition), maxlen=0, approximate=False)
        await redis.client.hset(keys.meta(partition), "incarnation", INCARNATION.hex)


@asynccontextmanager
async def open_flusher(urls: DatabaseUrls, core: Core) -> AsyncIterator[None]:
    """A flusher beside core, in this process, until the block ends."""
    database = await Database.open(urls.of("quotastack_flusher"), "flusher", BATCHES_AT_ONCE)
    stream = await StreamConnection.connect(core.parts.settings.redis_url, core.parts.settings.agreement())
    keeping, stop = Keeping(600, 1_000_000), asyncio.Event()
    flusher = Flusher(database, stream, Clock(), keeping, core.parts.settings.billing_timezone)
    running = asyncio.create_task(flusher.run(stop))
    try:
        yield
    finally:
        stop.set()
        await running
        await stream.close()
        await database.close()


@asynccontextmanager
async def open_core(
    urls: DatabaseUrls, redis_url: str, clock: Clock | None = None, **changed: Any
) -> AsyncIterator[Core]:
    """Core on these servers, until the block ends."""
    fixed: dict[str, Any] = {
        "redis_url": redis_url,
        "core_database_url": urls.of("quotastack_core"),
        "partitions": PARTITIONS,
    }
    settings = msgspec.convert(fixed | SECRETS | changed, CoreSettings)
    async with AsyncExitStack() as stack:
        parts = await stack.enter_async_context(open_parts(settings, clock or Clock()))
        await begin_incarnation(urls, parts.redis)
        clients = [
            await stack.enter_async_context(
                httpx.AsyncClient(
                    transport=httpx.ASGITransport(cast("Any", app), raise_app_exceptions=False), base_url="http://core"
                )
            )
            for app in (public_application(parts), internal_application(parts))
        ]
        yield Core(parts, *clients)
