"""The whole product as real processes on real servers, for tests that go all the way and kill what they like."""

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import msgspec

from app.embedded.environment import read_environment
from app.embedded.postgres import start_postgres
from app.embedded.role import RoleProcess
from app.embedded.roles import ROLE_COMMANDS, Stores, child_environments
from app.embedded.server import EmbeddedServer
from app.embedded.valkey import start_valkey
from app.io.migrate import migrate
from app.io.redis import RedisStore
from app.ledger.verify import VerifyReport, verify
from app.wire.agreement import Agreement
from tests.ports import free_ports
from tests.waiting import wait_until_async

READY_SECONDS = 30
SECRETS = {
    name: name.lower().ljust(40, "x") for name in ("ADMIN_TOKEN", "KEY_PEPPER", "INTERNAL_SECRET", "WEBHOOK_KEY")
}


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, read whole."""

    status: int
    body: Any
    raw: bytes
    headers: Any


class Client:
    """One of the two base URLs with one key."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str, key: str) -> None:
        self._session = session
        self.base_url = base_url
        self._key = key

    def on(self, session: aiohttp.ClientSession) -> "Client":
        """The same over connections of another session."""
        return Client(session, self.base_url, self._key)

    def with_key(self, key: str) -> "Client":
        """The same base URL with another key."""
        return Client(self._session, self.base_url, key)

    async def send(self, method: str, path: str, **options: Any) -> Answer:
        """One request, no retries."""
        headers = {"Authorization": f"Bearer {self._key}"} | options.pop("headers", {})
        async with self._session.request(method, self.base_url + path, headers=headers, **options) as response:
            raw = await response.read()
            body = msgspec.json.decode(raw) if raw else None
            return Answer(response.status, body, raw, response.headers)

    async def get(self, path: str, **params: Any) -> Answer:
        """GET with a query."""
        return await self.send("GET", path, params=params)

    async def post(self, path: str, body: Any, **headers: str) -> Answer:
        """POST a JSON body; keyword arguments are headers with underscores for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.send("POST", path, json=body, headers=named)

    async def created(self, path: str, body: Any) -> Any:
        """The body of a POST that has to succeed with 201."""
        answer = await self.post(path, body)
        assert answer.status == HTTPStatus.CREATED, answer.body
        return answer.body


@dataclass(frozen=True)
class Tenant:
    """A tenant of its own for each test: keys, environment, and clients of the sandbox on both base URLs."""

    sandbox_key: str
    live_key: str
    environment_id: UUID
    core: Client
    edge: Client


def _hears_sigterm(pid: int) -> bool:
    """Whether the process handles the signal by now; before that it would simply die of it."""
    caught = Path(f"/proc/{pid}/status").read_text().split("SigCgt:")[1].split()[0]
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


class Stack:
    """Servers and roles under one directory. Roles can be killed, stopped and started again at will."""

    def __init__(self, directory: Path, postgres: EmbeddedServer, valkey: EmbeddedServer, **variables: str) -> None:
        ports = dict(zip(("CORE_PORT", "CORE_INTERNAL_PORT", "EDGE_PORT"), map(str, free_ports(3)), strict=True))
        paths = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        environment = read_environment(paths | SECRETS | ports | {"VAR_DIR": str(directory)} | variables)
        self.postgres, self.valkey = postgres, valkey
        self.stores = Stores(postgres.url_owner, valkey.url)  # type: ignore[attr-defined]
        self.core_url, self.edge_url = environment.core.url, environment.edge.url
        environments = child_environments(environment, environment.secrets, self.stores)
        self.environments = environments
        self.directory = directory
        self.roles: dict[str, RoleProcess] = {}
        for name in ROLE_COMMANDS:
            self.add(name, name)
        self.agreement = Agreement(int(variables.get("PARTITIONS", "64")))

    def add(self, kind: str, name: str) -> None:
        """One more role of a kind (core, edge, flusher, jobs), to be started under this name."""
        log_path = self.directory / f"{name}.log"
        self.roles[name] = RoleProcess(ROLE_COMMANDS[kind], self.environments[kind], log_path)

    def route(self, kind: str, variable: str, address: str) -> None:
        """Give a role that is not started yet another address."""
        self.environments[kind][variable] = address
        self.add(kind, kind)

    async def migrate(self) -> None:
        """Make the schema and the login roles."""
        names = ("CORE_DATABASE_URL", "FLUSHER_DATABASE_URL", "JOBS_DATABASE_URL")
        urls = [self.environments[name.partition("_")[0].lower()][name] for name in names]
        roles = ("quotastack_core", "quotastack_flusher", "quotastack_jobs")
        await migrate(self.stores.database_url, dict(zip(roles, urls, strict=True)))

    def start(self, *names: str) -> None:
        """Start roles (all where none is named)."""
        for name in names or self.roles:
            self.roles[name].start()

    async def kill(self, name: str) -> None:
        """Kill -9 of a role, and its end."""
        os.kill(self.pid(name), signal.SIGKILL)

        async def is_gone() -> bool:
            return self.roles[name].has_ended()

        await wait_until_async(is_gone, 10, f"the end of {name}")

    def pid(self, name: str) -> int:
        """The process of a role."""
        pid = self.roles[name].pid
        assert pid is not None, f"{name} was never started"
        return pid

    def workers(self, name: str) -> list[int]:
        """The children that a role has at this moment."""
        pid = self.pid(name)
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def pause(self, name: str) -> None:
        """SIGSTOP for a role and its workers: they do nothing, and nobody is told."""
        os.killpg(self.pid(name), signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """SIGCONT for a role and its workers."""
        os.killpg(self.pid(name), signal.SIGCONT)

    async def end_server(self, server: EmbeddedServer, how: signal.Signals) -> None:
        """A signal for a store that ends it, and its end."""
        os.kill(server.pid, how)

        async def is_gone() -> bool:
            return server.has_ended()

        await wait_until_async(is_gone, 20, f"the end of {server.title}")

    async def stop(self, name: str) -> None:
        """SIGTERM, and an end in good order, once it has come so far that it hears that."""
        role, pid = self.roles[name], self.pid(name)

        async def hears() -> bool:
            return _hears_sigterm(pid)

        await wait_until_async(hears, 20, f"{name} to listen to signals")
        role.ask_to_stop()

        async def is_gone() -> bool:
            return role.has_ended()

        await wait_until_async(is_gone, 20, f"the orderly end of {name}")
        assert role.status == 0, role.log_path.read_text()[-2000:]

    def end(self) -> None:
        """Nothing of the roles is left."""
        for role in self.roles.values():
            if role.pid is not None:
                role.finish_stop(0)

    def probed(self) -> dict[str, str]:
        """Where each process is probed: core and edge always, the others where they were given a port."""
        ports = {name: self.environments[name].get(f"{name.upper()}_METRICS_PORT") for name in ("flusher", "jobs")}
        listening = {name: f"http://127.0.0.1:{port}" for name, port in ports.items() if port}
        return {"core": self.core_url, "edge": self.edge_url} | listening

    async def ready(self, session: aiohttp.ClientSession, *urls: str) -> None:
        """Wait until every process that is probed says that it is well, or those at these addresses."""
        for url in urls or (f"{base}/readyz" for base in self.probed().values()):

            async def answers(url: str = url) -> bool:
                try:
                    async with session.get(url) as response:
                        return response.status == HTTPStatus.OK and (await response.json())["status"] == "ready"
                except aiohttp.ClientError:
                    return False

            try:
                await wait_until_async(answers, READY_SECONDS, f"{url} to answer")
            except AssertionError as error:
                logs = "\n".join(role.log_path.read_text()[-1500:] for role in self.roles.values() if role.pid)
                raise AssertionError(f"{error}\n{logs}") from error

    async def tenant(self, session: aiohttp.ClientSession, name: str = "test") -> Tenant:
        """A new tenant."""
        operator = Client(session, self.core_url, SECRETS["ADMIN_TOKEN"])
        made = await operator.created("/v1/tenants", {"name": name})
        key = made["sandbox_key"]
        return Tenant(
            key,
            made["live_key"],
            UUID(made["sandbox_environment_id"].removeprefix("env_")),
            Client(session, self.core_url, key),
            Client(session, self.edge_url, key),
        )

    async def redis(self) -> RedisStore:
        """A connection of the test's own."""
        return await RedisStore.connect(self.stores.redis_url, self.agreement)

    async def verify(self) -> VerifyReport:
        """What `quotastack ledger verify` finds."""
        redis = await self.redis()
        try:
            return await verify(self.stores.database_url, redis, None, None)
        finally:
            await redis.close()


@asynccontextmanager
async def open_session() -> AsyncIterator[aiohttp.ClientSession]:
    """A client session without a limit on connections."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=30)) as session:
        yield session


@asynccontextmanager
async def running_stack(
    directory: Path, prepare: Callable[[Stack], Awaitable[None]] | None = None, **variables: str
) -> AsyncIterator[Stack]:
    """Servers and all roles, ready; ended with everything that was started. `prepare` runs before any role does."""
    with start_postgres(directory / "data") as postgres, start_valkey(directory / "data") as valkey:
        stack = Stack(directory, postgres, valkey, **variables)
        await stack.migrate()
        if prepare is not None:
            await prepare(stack)
        stack.start()
        try:
            async with open_session() as session:
                await stack.ready(session)
            yield stack
        finally:
            stack.end()


async def make_catalogue(client: Client, amount: int = 50_000, *more: str) -> str:
    """The feature `api_calls` at one credit, and a plan with `amount` credits a month; the id of its variant.

    The plan includes `more` features, which are there already.
    """
    price = {"kind": "per_unit", "amount": 1, "per": 1}
    await client.created("/v1/features", {"key": "api_calls", "name": "Calls", "kind": "metered", "price": price})
    await client.created("/v1/plans", {"key": "pro", "name": "Pro"})
    variant = await client.created(
        "/v1/plans/pro/variants",
        {
            "key": "monthly",
            "interval": "month",
            "grants": [{"amount": amount, "interval": "month"}],
            "features": [{"feature_key": key} for key in ("api_calls", *more)],
        },
    )
    return variant["plan_variant_id"]


async def drained(client: Client, end_user_id: str) -> Any:
    """The customer's credits once nothing is pending any more."""

    async def nothing_pending() -> Any:
        answer = await client.get(f"/v1/customers/{end_user_id}/credits")
        return answer.body if answer.status == HTTPStatus.OK and answer.body["pending"] == 0 else None

    return await wait_until_async(nothing_pending, 30, f"the usage of {end_user_id} to be posted")
