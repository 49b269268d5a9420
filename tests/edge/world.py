"""A real edge on a real Valkey, with a stand-in for core that does what a test tells it to."""

import asyncio
import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID, uuid4

import aiohttp
import msgspec
from aiohttp import web
from multidict import CIMultiDict

from app.rules.credits import MICRO
from app.rules.entitlement import OveragePolicy
from app.rules.moments import NEVER_AT
from app.rules.pricing import FlatPrice, PerUnitPrice, always
from app.wire import ids, key_digest, keys
from app.wire.events import UsagePayload
from app.wire.scopes import Scope
from app.wire.snapshot import ApiKeyRecord, FeatureTerms, PlanSnapshot, encode_api_key, encode_plan
from tests.ports import free_port
from tests.waiting import wait_until, wait_until_async

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from app.embedded.valkey import EmbeddedValkey

PEPPER = "pepper".ljust(40, "p")
SECRET = "secret".ljust(40, "s")
PARTITIONS = 8
WINDOW_SECONDS = 3600
PRICE_ID = UUID(int=7)
READY_SECONDS = 20
EVERYTHING = (Scope.ENTITLEMENTS_READ, Scope.USAGE_WRITE)

_payloads = msgspec.msgpack.Decoder(UsagePayload)


def now_at() -> int:
    """The machine's clock in microseconds."""
    return time.time_ns() // 1000


class Answer(msgspec.Struct):
    """An HTTP answer, read whole."""

    status: int
    headers: Any
    raw: bytes

    @property
    def body(self) -> Any:
        """The body as JSON."""
        return msgspec.json.decode(self.raw)


class StandInCore:
    """Core's internal endpoints, told what to answer. What they load is put into Redis by the test's own functions."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[tuple[str, Any]] = []
        self.answers: dict[str, Any] = {}
        """By kind (accounts, keys, plans): an async function of the question that answers a status."""
        self.issued: set[str] = set()
        """Digests of keys that there are, for who asks while Redis is away."""
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen."""
        application = web.Application()
        application.router.add_post("/internal/{kind}/load", self._load)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        port = free_port()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        self.url = f"http://127.0.0.1:{port}"

    async def stop(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()

    def reset(self) -> None:
        """Know nothing, and forget what was asked."""
        self.asked.clear()
        self.answers.clear()

    async def _load(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {SECRET}":
            return web.Response(status=401)
        kind = request.match_info["kind"]
        question = msgspec.json.decode(await request.read())
        self.asked.append((kind, question))
        answer = self.answers.get(kind)
        unasked = "found" if question.get("digest") in self.issued else "unknown"
        status = unasked if answer is None else await answer(question)
        if status == "broken":
            return web.Response(status=500)
        return web.json_response({"status": status})


class EdgeProcess:
    """`python -m edge.main` with its workers."""

    def __init__(self, redis_url: str, core_url: str, workers: int = 1, **more: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            "PATH": os.environ["PATH"],
            "EDGE_PORT": str(self.port),
            "EDGE_WORKERS": str(workers),
            "REDIS_URL": redis_url,
            "CORE_INTERNAL_URL": core_url,
            "INTERNAL_SECRET": SECRET,
            "KEY_PEPPER": PEPPER,
            "PARTITIONS": str(PARTITIONS),
            "IDEMPOTENCY_WINDOW_SECONDS": str(WINDOW_SECONDS),
            **more,
        }
        if "SPOOL_DIRECTORY" not in more:
            self.environment["SPOOL_DIRECTORY"] = own = tempfile.mkdtemp(prefix="spool-")
            weakref.finalize(self, shutil.rmtree, own, ignore_errors=True)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, log: Path | None = None, open_files: int | None = None) -> None:
        """Start, perhaps with a limit on open files; `ready` tells when it answers."""
        limit = [] if open_files is None else ["sh", "-c", 'ulimit -n "$0" && exec "$@"', str(open_files)]
        with (log or Path(os.devnull)).open("ab") as output:
            self.process = subprocess.Popen(
                [*limit, sys.executable, "-m", "edge.main"],
                cwd=Path(__file__).parents[2],
                env=self.environment,
                stdout=output,
                stderr=output,
            )

    async def ready(self, status: str = "ready") -> None:
        """Wait until a worker answers and has Redis."""
        await wait_until_async(lambda: self._is(status), READY_SECONDS, f"the edge is {status}")

    async def _is(self, status: str) -> bool:
        with suppress(OSError, aiohttp.ClientError):
            async with aiohttp.ClientSession() as session, session.get(f"{self.url}/readyz") as response:
                return response.status == 200 and (await response.json())["status"] == status
        return False

    def worker_pids(self) -> list[int]:
        """The workers that live."""
        pid = self.pid
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    @property
    def pid(self) -> int:
        """Of the parent."""
        assert self.process is not None
        return self.process.pid

    def stop(self) -> int:
        """End it with SIGTERM; its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(READY_SECONDS)


class World:
    """Valkey, core and edge, and what a test puts into them."""

    def __init__(self, redis: "Redis", core: StandInCore, edge: EdgeProcess, session: aiohttp.ClientSession) -> None:
        self.redis: Any = redis
        self.core = core
        self.edge = edge
        self.session = session

    # ---- what is there

    async def tenant(self, *scopes: str, expires_at: int | None = None) -> "Tenant":
        """A new environment with one key."""
        return await self._issue(uuid4(), frozenset(scopes or EVERYTHING), expires_at)

    async def another_key(self, tenant: "Tenant") -> "Tenant":
        """The same environment with another key."""
        return await self._issue(tenant.environment_id, frozenset(EVERYTHING), None)

    async def _issue(self, environment_id: UUID, scopes: frozenset[str], expires_at: int | None) -> "Tenant":
        tenant = Tenant(self, environment_id, key_digest.make_key("sandbox", uuid4().int))
        record = ApiKeyRecord(uuid4(), environment_id, "sandbox", scopes, expires_at)
        digest = key_digest.digest(PEPPER.encode(), tenant.key)
        await self.redis.set(keys.api_key(digest), encode_api_key(record))
        self.core.issued.add(digest.hex())
        return tenant

    async def send(self, method: str, path: str, **options: Any) -> Answer:
        """One request."""
        async with self.session.request(method, self.edge.url + path, **options) as response:
            return Answer(response.status, response.headers, await response.read())


class Tenant:
    """One environment with its key: seeds accounts, asks questions."""

    def __init__(self, world: World, environment_id: UUID, key: str) -> None:
        self.world = world
        self.environment_id = environment_id
        self.ref = keys.environment_ref(environment_id)
        self.key = key

    def on(self, session: aiohttp.ClientSession) -> "Tenant":
        """The same tenant, asking over connections of another session."""
        world = World(self.world.redis, self.world.core, self.world.edge, session)
        return Tenant(world, self.environment_id, self.key)

    # ---- seeding

    def plan(self, *, subscribed: bool = True, **changed: FeatureTerms | None) -> PlanSnapshot:
        """`api_calls` costs 1 a unit, `tokens` 3 per 1,000, `image` 10 an event; `extra` is not in the plan."""
        features: dict[str, FeatureTerms | None] = {
            "api_calls": FeatureTerms(always(PRICE_ID, PerUnitPrice(MICRO)), included=True),
            "tokens": FeatureTerms(always(PRICE_ID, PerUnitPrice(3 * MICRO, per=1000)), included=True),
            "image": FeatureTerms(always(PRICE_ID, FlatPrice(10 * MICRO)), included=True),
            "lenient": FeatureTerms(
                always(PRICE_ID, PerUnitPrice(MICRO)), included=True, overage_policy=OveragePolicy.NOTIFY
            ),
            "extra": FeatureTerms(always(PRICE_ID, PerUnitPrice(MICRO)), included=not subscribed),
            "unpriced": FeatureTerms([], included=False),
            "limited": FeatureTerms(always(PRICE_ID, PerUnitPrice(MICRO)), included=True, limit_units_micro=10 * MICRO),
            **changed,
        }
        kept = {name: terms for name, terms in features.items() if terms is not None}
        return PlanSnapshot(self.environment_id, subscribed, kept)

    async def put_plan(self, plan: PlanSnapshot) -> str:
        """Publish a plan snapshot; its id."""
        snapshot_id, content = encode_plan(plan)
        await self.world.redis.set(keys.plan(snapshot_id), content)
        return snapshot_id

    async def seed(self, end_user_id: str, balance: int = 1000, plan: PlanSnapshot | None = None, **fields: Any) -> str:
        """An account with `balance` credits to spend; the id of its snapshot."""
        snapshot_id = await self.put_plan(plan or self.plan())
        values = {
            "revision": 3,
            "base": balance * MICRO,
            "applied": 0,
            "accepted": 0,
            "last_id": "0-0",
            "last_at": 0,
            "valid_until": NEVER_AT,
            "ticked": 0,
            "snapshot": snapshot_id,
            "status": "active",
            "floor": 0,
        }
        await self.world.redis.hset(self.account_key(end_user_id), mapping={**values, **fields})
        return snapshot_id

    def partition(self, end_user_id: str) -> int:
        """The customer's partition."""
        return keys.partition_of(keys.account_ref(self.ref, end_user_id), PARTITIONS)

    def account_key(self, end_user_id: str) -> bytes:
        """The customer's account in Redis."""
        return keys.account(self.partition(end_user_id), keys.account_ref(self.ref, end_user_id))

    def reservation_key(self, reservation_id: str) -> bytes:
        """A reservation in Redis, from its id as clients see it."""
        found = ids.parse("rsv", reservation_id)
        return keys.reservation(ids.partition_in(found), self.ref, found)

    async def account(self, end_user_id: str) -> dict[str, str]:
        """The customer's account in Redis."""
        found = await self.world.redis.hgetall(self.account_key(end_user_id))
        return {name.decode(): value.decode() for name, value in found.items()}

    async def entries(self, end_user_id: str) -> list[dict[bytes, bytes]]:
        """What the streams hold of this customer, in order."""
        stream = await self.world.redis.xrange(keys.stream(self.partition(end_user_id)))
        ref = keys.account_ref(self.ref, end_user_id)
        return [fields for _, fields in stream if fields[b"a"] == ref]

    async def recorded_ids(self, end_user_id: str) -> list[str]:
        """The events of this customer in the streams, as clients see their ids."""
        return [ids.show("evt", _payloads.decode(fields[b"p"]).event_id) for fields in await self.entries(end_user_id)]

    # ---- asking

    async def send(self, method: str, path: str, **options: Any) -> Answer:
        """One request with the key."""
        headers = {"Authorization": f"Bearer {self.key}", **options.pop("headers", {})}
        return await self.world.send(method, path, headers=headers, **options)

    async def raw(self, request_line: str, *lines: str, body: bytes = b"") -> Answer:
        """One request that no client library would send; its head is made of these lines, the host and the key."""
        wire = await Wire.open(self.world.edge.port)
        wire.send(self.head(request_line, *lines) + body)
        answer = await wire.answer(has_body=not request_line.startswith("HEAD"))
        await wire.close()
        return answer

    def head(self, request_line: str, *lines: str) -> bytes:
        """The head of a request with the host and the key."""
        named = ("Host: edge", f"Authorization: Bearer {self.key}", *lines)
        return "\r\n".join((request_line, *named, "", "")).encode()

    async def check(self, end_user_id: str, feature_key: str = "api_calls", **more: Any) -> Answer:
        """`GET /v1/entitlements/check`."""
        params = {"end_user_id": end_user_id, "feature_key": feature_key, **more}
        return await self.send("GET", "/v1/entitlements/check", params=params)

    async def use(self, end_user_id: str, feature_key: str = "api_calls", **more: Any) -> Answer:
        """`POST /v1/usage`; keyword arguments are members of the body, `headers` apart."""
        headers = more.pop("headers", {})
        body = {"end_user_id": end_user_id, "feature_key": feature_key, **more}
        return await self.send("POST", "/v1/usage", json=body, headers=headers)

    async def reserve(self, end_user_id: str, feature_key: str = "api_calls", **more: Any) -> Answer:
        """`POST /v1/reservations`; keyword arguments are members of the body, `headers` apart."""
        headers = more.pop("headers", {})
        body = {"end_user_id": end_user_id, "feature_key": feature_key, **more}
        return await self.send("POST", "/v1/reservations", json=body, headers=headers)

    async def change(self, reservation_id: str, verb: str, **body: Any) -> Answer:
        """`POST /v1/reservations/{id}/{verb}`; keyword arguments are members of the body."""
        return await self.send("POST", f"/v1/reservations/{reservation_id}/{verb}", json=body)

    async def show(self, reservation_id: str) -> Answer:
        """`GET /v1/reservations/{id}`."""
        return await self.send("GET", f"/v1/reservations/{reservation_id}")

    async def batch(self, events: Sequence[Any], **headers: str) -> Answer:
        """`POST /v1/usage/batch`; keyword arguments are headers with underscores for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        text = io.BytesIO(msgspec.json.encode({"events": events}))
        head = {"Content-Type": "application/json", **named}
        return await self.send("POST", "/v1/usage/batch", data=text, headers=head)


@asynccontextmanager
async def own_edge(
    world: World, valkey: "EmbeddedValkey", log: Path | None = None, workers: int = 2, ready: str = "ready", **more: str
) -> AsyncIterator[World]:
    """An edge with workers that a test may kill, on the shared Valkey; keyword arguments are variables."""
    edge = EdgeProcess(valkey.url, world.core.url, workers, **more)
    edge.start(log)
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    try:
        async with aiohttp.ClientSession(connector=connector) as session:
            await edge.ready(ready)
            yield World(world.redis, world.core, edge, session)
    finally:
        edge.stop()


class Wire:
    """One connection to the edge, on which a test sends what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int) -> Self:
        """Connect."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def send(self, data: bytes) -> None:
        """Send without waiting."""
        self.writer.write(data)

    async def answer(self, *, has_body: bool = True) -> Answer:
        """The next answer."""
        async with asyncio.timeout(READY_SECONDS):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = CIMultiDict[str]()
            for line in head[1:-2]:
                name, _, value = line.partition(": ")
                headers.add(name, value)
            length = int(headers.get("Content-Length", 0)) if has_body else 0
            return Answer(int(head[0].split()[1]), headers, await self.reader.readexactly(length))

    async def is_closed(self) -> bool:
        """Wait for the edge's end; whether nothing came before it."""
        async with asyncio.timeout(READY_SECONDS):
            return await self.reader.read() == b""

    async def close(self) -> None:
        """Hang up."""
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()


def is_gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def wait_gone(pid: int) -> None:
    """Wait until a process has ended."""
    wait_until(lambda: is_gone(pid), READY_SECONDS, f"process {pid} has ended")


async def asked_twice(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """As a client that comes again where the edge has waited in vain, because the machine stood still meanwhile."""
    answer = await ask()
    return answer if answer.status < 500 else await ask()
