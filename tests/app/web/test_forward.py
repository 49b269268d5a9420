"""The hot routes on core's address are the edge's, byte for byte."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from app.embedded.valkey import EmbeddedValkey
from app.web import forward
from app.wire.codes import Code
from edge.routes import ROUTES
from tests.app.core import open_core
from tests.app.web.test_problems import assert_problem
from tests.conftest import DatabaseUrls


class StandInEdge:
    """Remembers what it was sent and answers what it is told."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, bytes, dict[str, str]]] = []
        self.answer: dict[str, Any] = {}
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        """Any request."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append((request.method, request.raw_path, await request.read(), headers))
        return web.Response(**self.answer)


@asynccontextmanager
async def stand_in_edge() -> AsyncIterator[StandInEdge]:
    """One that listens until the block ends."""
    edge = StandInEdge()
    app = web.Application(client_max_size=16 << 20)
    app.router.add_route("*", "/{anything:.*}", edge.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    edge.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield edge
    finally:
        await runner.cleanup()


@pytest.fixture
async def edge() -> AsyncIterator[StandInEdge]:
    """A stand-in for the edge."""
    async with stand_in_edge() as running:
        yield running


async def test_requests_and_answers_pass_unchanged(
    urls: DatabaseUrls, valkey: EmbeddedValkey, edge: StandInEdge
) -> None:
    """Method, path, query, body and the headers that matter; status, body and headers back."""
    body = b' {"end_user_id": "\xc3\xa4",\n "units": 1.50 } '
    query = "end_user_id=a%2Fb%20c+d&feature_key=%C3%A4&x=1&x=2"
    async with open_core(urls, valkey.url, edge_url=edge.url) as core:
        client = core.client("qs_test_whatever")
        edge.answer = {
            "status": 402,
            "body": b'{"code":"insufficient_credits", "n": 1.0}',
            "headers": {"Content-Type": "application/problem+json", "Idempotent-Replayed": "true", "Retry-After": "7"},
        }
        for method, path, sent in (
            ("GET", f"/v1/entitlements/check?{query}", b""),
            ("POST", "/v1/entitlements/check", body),
            ("GET", f"/v1/entitlements?{query}", b""),
            ("POST", "/v1/features/seats.v-2_x/acquire", body),
            ("POST", "/v1/features/s%20%C3%A4%25/release", body),
            ("POST", "/v1/usage", body),
            ("POST", "/v1/usage/batch", b"x" * 5_000_000),
            ("POST", "/v1/usage?unknown=1", b""),
            ("POST", "/v1/reservations", body),
            ("POST", "/v1/reservations/rsv_%3F1/commit", b""),
            ("POST", "/v1/reservations/rsv_1/release", b"{}"),
            ("POST", "/v1/reservations/rsv_1/extend?a=1", body),
            ("GET", "/v1/reservations/rsv_1", b""),
        ):
            headers = {"idempotency-key": "k", "x-request-id": "mine", "cookie": "a=b"}
            headers |= {"content-type": "text/plain"} if sent else {}
            answer = await client.send(method, path, content=sent, headers=headers)
            assert (answer.status_code, answer.content) == (402, edge.answer["body"])
            assert answer.headers["content-type"] == "application/problem+json"
            assert (answer.headers["idempotent-replayed"], answer.headers["retry-after"]) == ("true", "7")
            assert answer.headers.get_list("x-request-id") == ["mine"]
            seen_method, seen_path, seen_body, seen = edge.seen.pop()
            assert (seen_method, seen_path, seen_body) == (method, path, sent)
            assert seen["authorization"] == "Bearer qs_test_whatever"
            assert (seen["idempotency-key"], seen["x-request-id"]) == ("k", "mine")
            assert seen.get("content-type") == headers.get("content-type")
            assert not seen.keys() & {"cookie", "user-agent"}


async def test_what_a_client_knows_already(urls: DatabaseUrls, valkey: EmbeddedValkey, edge: StandInEdge) -> None:
    """Its tag goes to the edge, and a 304 with the tag comes back, without a body."""
    async with open_core(urls, valkey.url, edge_url=edge.url) as core:
        edge.answer = {"status": 304, "headers": {"ETag": '"a"'}}
        path, headers = "/v1/entitlements?end_user_id=u", {"if-none-match": '"a"'}
        answer = await core.operator.send("GET", path, headers=headers)
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", '"a"')
        assert edge.seen.pop()[3]["if-none-match"] == '"a"'


def test_what_is_forwarded_is_what_the_edge_answers() -> None:
    """Every hot route and no other."""
    forwarded = {(method, re.sub(r"\{\w+:str\}", "{}", path)) for method, path in forward.HOT_ROUTES}
    assert forwarded == {(method.decode(), path.decode()) for method, path in ROUTES}


async def test_an_answer_without_a_body(urls: DatabaseUrls, valkey: EmbeddedValkey, edge: StandInEdge) -> None:
    """204 comes back as it is, with neither length nor type, whatever kind of body was sent."""
    async with open_core(urls, valkey.url, edge_url=edge.url) as core:
        edge.answer = {"status": 204, "headers": {"Idempotent-Replayed": "true"}}
        kind = "application/cloudevents+json; charset=utf-8"
        sent = {"content": b'{"specversion": "1.0"}', "headers": {"content-type": kind}}
        answer = await core.client("qs_test_whatever").send("POST", "/api/v1/events", **sent)
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["idempotent-replayed"] == "true"
        assert not answer.headers.keys() & {"content-length", "content-type"}
        method, path, body, seen = edge.seen.pop()
        assert (method, path, body) == ("POST", "/api/v1/events", sent["content"])
        assert seen["content-type"] == kind


async def test_connections_are_kept(urls: DatabaseUrls, valkey: EmbeddedValkey, edge: StandInEdge) -> None:
    """One after the other, requests go over one connection."""
    edge.answer = {"body": b"{}"}
    async with open_core(urls, valkey.url, edge_url=edge.url) as core:
        for _ in range(3):
            assert (await core.operator.post("/v1/usage", {})).status_code == 200
        connector = core.parts.session.connector
        assert connector is not None
        assert sum(map(len, connector._conns.values())) == 1  # noqa: SLF001 - aiohttp does not tell otherwise


async def test_without_the_edge(urls: DatabaseUrls, valkey: EmbeddedValkey) -> None:
    """503 that says so, and when to come back; with the edge back it works again."""
    async with stand_in_edge() as first:
        url = first.url
    async with open_core(urls, valkey.url, edge_url=url) as core:
        answer = await core.operator.post("/v1/usage", {})
        assert_problem(answer, Code.EDGE_UNAVAILABLE)
        assert answer.headers["retry-after"] == "1"
