"""The clients that people have hold one conversation with a running edge, over connections that they keep."""

import asyncio
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loadtests import wrk
from tests.certificates import Certificate, make_certificate
from tests.deploy.proxy import Upstreams, running_proxy
from tests.edge import http_clients
from tests.edge.http_clients import Ask, Place, Told
from tests.edge.world import Tenant
from tests.faults.proxy import FaultProxy, proxy_to
from tests.ports import free_port
from tests.programs import program

pytestmark = pytest.mark.asyncio(loop_scope="session")

CREDITS = 1_000_000
CHECK = "/v1/entitlements/check?end_user_id=user_1&feature_key=api_calls"
EVENT = {"end_user_id": "user_1", "feature_key": "api_calls"}
CONVERSATION = (
    Ask("GET", CHECK),
    Ask("POST", "/v1/usage", json.dumps(EVENT).encode()),
    Ask("POST", "/v1/usage/batch", json.dumps({"events": [EVENT] * 3}).encode(), is_chunked=True),
    Ask("HEAD", CHECK),
    Ask("POST", "/v1/usage", json.dumps(EVENT | {"feature_key": "no-such"}).encode()),
    Ask("POST", "/v1/usage", json.dumps(EVENT).encode(), expects=True),
    Ask("GET", CHECK),
)
CONNECTIONS, SECONDS, MANY = 16, 1, 1_000


def assert_as_expected(told: list[Told]) -> None:
    """Every answer is the one to its question, and together they add up."""
    assert [answer.status for answer in told] == [200, 202, 202, 200, 404, 202, 200]
    check, usage, batch, head, error, expected, last = (answer.body for answer in told)
    assert head == b""
    balances = [json.loads(body)["balance"] for body in (check, usage, expected, last)]
    assert balances == [CREDITS - spent for spent in (0, 1, 5, 5)]
    assert [result["status"] for result in json.loads(batch)["results"]] == ["accepted"] * 3
    assert json.loads(error)["code"] == "unknown_feature"


async def hold(by: Callable[..., Any], *arguments: Any) -> list[Told]:
    """Hold the conversation; a client that blocks does so in a thread."""
    if inspect.iscoroutinefunction(by):
        return await by(*arguments)
    return await asyncio.to_thread(by, *arguments)


def sent(relay: FaultProxy, line: str) -> bool:
    """Whether this line stood in the head of a request."""
    return f"\r\n{line}\r\n".encode() in relay.seen.lower()


@pytest.mark.parametrize(
    ("by", "most_connections", "asks_for_leave"),
    [
        (http_clients.by_httpx, 1, False),
        (http_clients.by_aiohttp, 1, True),
        (http_clients.by_http_client, 1, False),
        (http_clients.by_urllib, len(CONVERSATION), False),
        (http_clients.by_curl, 1, True),
        (http_clients.by_fetch, 4, False),  # after a HEAD it takes another
    ],
    ids=["httpx", "aiohttp", "http.client", "urllib", "curl", "fetch"],
)
async def test_a_client(
    tenant: Tenant, tmp_path: Path, by: Callable[..., Any], most_connections: int, *, asks_for_leave: bool
) -> None:
    """Check, usage, a batch in chunks, HEAD, an error, usage with leave asked, check."""
    await tenant.seed("user_1", CREDITS)
    async with proxy_to(tenant.world.edge.port, remembers=True) as relay:
        place = Place(f"http://127.0.0.1:{relay.port}", tenant.key)
        assert_as_expected(await hold(by, place, CONVERSATION, *([tmp_path] if by is http_clients.by_curl else [])))
        assert relay.connections <= most_connections
        assert sent(relay, "transfer-encoding: chunked")
        assert sent(relay, "expect: 100-continue") == asks_for_leave


@pytest.mark.parametrize("body", ["", json.dumps(EVENT)], ids=["check", "usage"])
async def test_wrk(tenant: Tenant, body: str) -> None:
    """Thousands of requests over a few connections, and every answer is a success."""
    program("wrk")
    await tenant.seed("user_1", CREDITS)
    request = wrk.http_request(*(("POST", "/v1/usage") if body else ("GET", CHECK)), tenant.key, body)
    report = await asyncio.to_thread(wrk.drive, tenant.world.edge.port, request, CONNECTIONS, SECONDS)
    assert report.requests > MANY
    if body:
        recorded = len(await tenant.entries("user_1"))
        assert report.requests <= recorded <= report.requests + CONNECTIONS


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    """Of this test alone, for the loopback address."""
    return make_certificate(tmp_path, "IP:127.0.0.1")


@pytest.mark.parametrize("by", [http_clients.by_http_client, http_clients.by_curl], ids=["http.client", "curl"])
async def test_behind_a_proxy_that_ends_tls(
    tenant: Tenant, tmp_path: Path, certificate: Certificate, by: Callable[..., Any]
) -> None:
    """The same through nginx as it is deployed; it keeps its connection to the edge between requests."""
    await tenant.seed("user_1", CREDITS)
    async with proxy_to(tenant.world.edge.port, remembers=True) as relay:
        with running_proxy(tmp_path, Upstreams(core=free_port(), edge=relay.port), certificate) as port:
            place = Place(f"https://127.0.0.1:{port}", tenant.key, certificate.chain)
            assert_as_expected(await hold(by, place, CONVERSATION, *([tmp_path] if by is http_clients.by_curl else [])))
            assert relay.connections == 1
