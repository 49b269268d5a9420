"""Traces: passed on by everybody, recorded where a collector is named."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import asyncpg
import msgspec
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from app.embedded.valkey import EmbeddedValkey
from app.io import otlp, tracing
from app.io.tracing import current_traceparent, read_traceparent, recording, within_trace
from app.settings import SettingsError
from tests.app.core import Core, open_core
from tests.conftest import DatabaseUrls
from tests.ports import free_port

TRACE = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"


@pytest.mark.parametrize(
    ("header", "is_one"),
    [
        (TRACE, True),
        (TRACE[:-2] + "00", True),
        (None, False),
        ("", False),
        (TRACE + "-more", False),
        ("01" + TRACE[2:], False),
        (TRACE.upper(), False),
        ("00-" + "0" * 32 + "-" + "cd" * 8 + "-01", False),
        ("00-" + "ab" * 16 + "-" + "0" * 16 + "-01", False),
        (f"{TRACE}\n", False),
    ],
)
def test_what_is_a_traceparent(header: str | None, is_one: bool) -> None:  # noqa: FBT001 - a row of the table
    """The form of version 00, with a trace and a span; whatever else comes is no trace of ours."""
    assert (read_traceparent(header) is not None) is is_one


async def test_each_task_has_its_own() -> None:
    """A trace is of the request that brought it, also where others are under way; afterwards there is none."""

    async def work(header: str) -> str | None:
        with within_trace(header):
            await asyncio.sleep(0)
            return current_traceparent()

    headers = [f"00-{number:032x}-{number:016x}-01" for number in range(1, 20)]
    assert await asyncio.gather(*map(work, headers)) == headers
    assert current_traceparent() is None


def test_without_a_collector_nothing_of_it_is_loaded() -> None:
    """Nothing that records or sends spans, in any of the processes; a span is one and the same nothing.

    The client of Redis looks by itself whether OpenTelemetry's figures are there.
    """
    script = (
        "import sys, app.main, app.flusher.__main__, app.jobs.__main__; from app.io import tracing\n"
        "with tracing.recording(None, 'x'): assert tracing.span('a') is tracing.part('b')\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk.trace', 'opentelemetry.exp'))])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_missing_extra_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for traces and cannot have them is told what to install, before anything runs."""
    monkeypatch.setitem(sys.modules, "app.io.otlp", None)
    with pytest.raises(SettingsError, match=r"quotastack\[tracing\]"), recording("http://127.0.0.1:1", "x"):
        pass


# ---- with a collector


class Collector:
    """Takes spans as an OTLP collector does, and keeps what came, also as bytes."""

    def __init__(self) -> None:
        self.raw: list[bytes] = []
        self.spans: list[tuple[str, Any]] = []
        """(service, span)."""
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.take(self.path, body)
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def take(self, path: str, body: bytes) -> None:
        """Decode one request."""
        assert path == otlp.PATH
        self.raw.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            [service] = [one.value.string_value for one in resource.resource.attributes if one.key == "service.name"]
            self.spans += [(service, span) for scope in resource.scope_spans for span in scope.spans]

    @contextmanager
    def serving(self) -> Iterator["Collector"]:
        """Listen until the block ends."""
        thread = Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def named(self, name: str) -> list[Any]:
        """Spans of a name."""
        return [span for _, span in self.spans if span.name == name]


@asynccontextmanager
async def traced_core(urls: DatabaseUrls, valkey: EmbeddedValkey, collector: Collector) -> AsyncIterator[Core]:
    """A core whose spans the collector has once the block has ended."""
    with recording(collector.url, "quotastack-core"):
        async with open_core(urls, valkey.url) as core:
            yield core


def attributes(span: Any) -> dict[str, Any]:
    """By name."""
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


async def test_a_request_is_recorded_with_its_transactions(urls: DatabaseUrls, valkey: EmbeddedValkey) -> None:
    """In the client's trace, under the client's span; what it did in Postgres is under it."""
    with Collector().serving() as collector:
        async with traced_core(urls, valkey, collector) as core:
            tenant = await core.tenant()
            headers = {"traceparent": TRACE, "x-request-id": "mine-1"}
            answer = await tenant.sandbox.send("GET", "/v1/customers/somebody", headers=headers)
            assert answer.status_code == 404
    [request] = collector.named("GET /v1/customers/{end_user_id}")
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == ("ab" * 16, "cd" * 8)
    assert attributes(request) == {
        "http.request.method": "GET",
        "http.route": "/v1/customers/{end_user_id}",
        "http.response.status_code": 404,
        "quotastack.request_id": "mine-1",
    }
    inner = [span for span in collector.named("postgres transaction") if span.trace_id == request.trace_id]
    assert inner
    assert {span.parent_span_id for span in inner} == {request.span_id}
    assert {service for service, _ in collector.spans} == {"quotastack-core"}


async def test_spans_hold_no_secret(urls: DatabaseUrls, valkey: EmbeddedValkey) -> None:
    """No key that was sent or made, no body, no path as it was sent, no address of a store; nor where it failed."""
    with Collector().serving() as collector:
        async with traced_core(urls, valkey, collector) as core:
            tenant = await core.tenant("secret-name")
            await tenant.sandbox.made("/v1/customers", {"end_user_id": "secret-customer"})
            await tenant.sandbox.get("/v1/customers/secret-customer", secret_filter="x")
            await core.client("qs_test_" + "x" * 40).get("/v1/features")
            words = [tenant.made["sandbox_key"], tenant.made["live_key"], core.operator.key, core.edge.key]
            stores = [core.parts.settings.core_database_url, valkey.url]
    sent = b"".join(collector.raw)
    assert collector.named("POST /v1/tenants")
    for word in (*words, *stores, "secret-", "secret_", "qs_test_", "Bearer", "password"):
        assert word.encode() not in sent, word


async def test_what_fails_is_told_by_its_kind() -> None:
    """The words of an exception may be somebody's data."""
    with Collector().serving() as collector:
        with recording(collector.url, "x"), pytest.raises(LookupError), tracing.span("work"):
            raise LookupError("secret words")
        [span] = collector.named("work")
        assert (span.status.code, span.status.message, list(span.events)) == (2, "LookupError", [])


async def test_what_is_passed_on_is_the_span_under_way() -> None:
    """In the same trace; where nothing is recorded at the moment, what came in."""
    with Collector().serving() as collector, recording(collector.url, "x"), within_trace(TRACE) as parent:
        assert current_traceparent() == TRACE
        with tracing.part("outside of any span"):
            assert current_traceparent() == TRACE
        with tracing.span("request", parent=parent):
            passed_on = current_traceparent()
            assert passed_on is not None
            assert passed_on[:36] == TRACE[:36]
            assert passed_on != TRACE


def test_a_collector_that_is_away_holds_up_nobody() -> None:
    """Neither what is recorded, nor the end of the process for long."""
    script = (
        "import time; from app.io import tracing\n"
        f"began = time.monotonic()\n"
        f"with tracing.recording('http://127.0.0.1:{free_port()}', 'x'):\n"
        "    for _ in range(5000):\n"
        "        with tracing.span('work'): pass\n"
        "print(time.monotonic() - began)"
    )
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True, timeout=60
    )
    assert float(done.stdout) < otlp.CLOSE_SECONDS + 10


async def test_what_happens_is_told_in_the_clients_trace(core: Core, urls: DatabaseUrls) -> None:
    """The event of a change carries the traceparent of the request that made it; without one it has none."""
    tenant = await core.tenant()
    for name, headers in (("traced", {"traceparent": TRACE}), ("untraced", {"traceparent": "nonsense"})):
        body = msgspec.json.encode({"end_user_id": name})
        assert (await tenant.sandbox.send("POST", "/v1/customers", content=body, headers=headers)).status_code == 201
    connection = await asyncpg.connect(urls.owner)
    rows = await connection.fetch("SELECT end_user_id, traceparent FROM outbox WHERE type = 'customer.created'")
    await connection.close()
    assert dict(map(tuple, rows)) == {"traced": TRACE, "untraced": None}
