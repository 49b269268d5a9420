"""The product with a fault proxy on every connection between two of its parts."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp

from tests.faults.proxy import FaultProxy, proxy_to
from tests.flow.stack import Client, Stack, Tenant, running_stack


class Link(NamedTuple):
    """Who speaks to whom; the variable of a role that says where, None for clients."""

    role: str
    to: str
    variable: str | None = None


LINKS: Mapping[str, Link] = {
    "client-edge": Link("client", "edge"),
    "client-core": Link("client", "core"),
    "edge-core": Link("edge", "core_internal", "CORE_INTERNAL_URL"),
    **{f"{role}-valkey": Link(role, "valkey", "REDIS_URL") for role in ("edge", "core", "flusher", "jobs")},
    **{
        f"{role}-postgres": Link(role, "postgres", f"{role.upper()}_DATABASE_URL")
        for role in ("core", "flusher", "jobs")
    },
}


@dataclass(frozen=True)
class LinkedStack:
    """A running stack, and its connections by name (LINKS)."""

    stack: Stack
    links: Mapping[str, FaultProxy]

    async def tenant(self, session: aiohttp.ClientSession) -> Tenant:
        """A new tenant, whose requests go through the proxies."""
        tenant = await self.stack.tenant(session)
        core, edge = (f"http://127.0.0.1:{self.links[name].port}" for name in ("client-core", "client-edge"))
        return replace(
            tenant,
            core=Client(session, core, tenant.sandbox_key),
            edge=Client(session, edge, tenant.sandbox_key),
        )

    async def heal(self) -> None:
        """Every connection is as good as new."""
        for link in self.links.values():
            await link.heal()


@asynccontextmanager
async def linked_stack(directory: Path, *, flushers: int = 1, **variables: str) -> AsyncIterator[LinkedStack]:
    """Servers and all roles, ready, with a proxy on every link; ended with everything that was started."""
    async with AsyncExitStack() as proxies:
        links: dict[str, FaultProxy] = {}

        async def prepare(stack: Stack) -> None:
            for name, link in LINKS.items():
                links[name] = await proxies.enter_async_context(proxy_to(_target(stack, link.to)))
                if link.variable is not None:
                    there = stack.environments[link.role][link.variable]
                    stack.route(link.role, link.variable, _address(there, links[name].port))
            for number in range(2, flushers + 1):
                stack.add("flusher", f"flusher_{number}")

        async with running_stack(directory, prepare, **variables) as stack:
            yield LinkedStack(stack, links)


def _target(stack: Stack, name: str) -> int | Path:
    servers = {"valkey": stack.valkey, "postgres": stack.postgres}
    if name in servers:
        return servers[name].socket_directory / servers[name].socket_name
    return int(stack.environments["core"][f"{name.upper()}_PORT"])


def _address(there: str, port: int) -> str:
    """The same thing at another port of this machine."""
    parts = urlsplit(there)
    here = f"127.0.0.1:{port}"
    if parts.scheme == "unix":
        return f"redis://{here}"
    if parts.scheme == "postgresql":
        user = parts.netloc.rpartition("@")[0]
        return f"postgresql://{user}@{here}{parts.path}?sslmode=disable"
    return f"{parts.scheme}://{here}"
