"""An API that does as a test says, on a port of its own: enough HTTP to meet every kind of trouble."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from app.io.outbound import open_session
from app.replay.client import Client
from app.replay.plan import UsageEvent

KEY = "qs_test_replay"
REQUEST_SECONDS = 5

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """The base URL of a server that hands every request to `handler`."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    async with TestServer(application) as server:
        yield str(server.make_url("")).rstrip("/")


@asynccontextmanager
async def client_of(handler: Handler) -> AsyncIterator[Client]:
    """A client of such a server."""
    async with serving(handler) as base_url, open_session(total_seconds=REQUEST_SECONDS) as session:
        yield Client(session, base_url, KEY)


def problem(status: int, code: str, **headers: str) -> web.Response:
    """A problem document; keyword arguments are headers with underscores for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.json_response({"code": code, "detail": "In a word: no."}, status=status, headers=named)


def accepted(event: dict[str, Any], *, replayed: bool = False) -> dict[str, Any]:
    """The result of an event that is on record: a unit costs a tenth of a credit."""
    return {"status": "accepted", "replayed": replayed, "cost": event["units"] / 10, "event_id": "evt_1"}


def spooled() -> dict[str, Any]:
    """A result that says no figures yet."""
    return {"status": "accepted", "replayed": False, "cost": None, "event_id": "evt_1", "durability": "spooled"}


def rejected(code: str) -> dict[str, Any]:
    """The result of one that is not."""
    return {"status": "rejected", "replayed": False, "code": code, "detail": "In a word: no."}


def make_events(count: int) -> list[UsageEvent]:
    """So many events of one unit each."""
    return [
        UsageEvent(f"user_{number % 7}", "input_tokens", 1, f"file:{number}:input_tokens") for number in range(count)
    ]
