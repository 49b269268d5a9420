"""The listener of a process that has no other: `/livez`, `/readyz` and `/metrics`, for probes and the collector."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web

from app.io import metrics
from app.io.ids import new_request_id
from app.io.readiness import Ready, Report
from app.settings import ProbedSettings, SettingsError
from app.wire.codes import MEANINGS, Code
from app.wire.problem import CONTENT_TYPE, problem
from app.wire.scraping import FORWARDED, REFUSED, may_scrape

Refresh = Callable[[], Awaitable[None]]
"""Brings figures up to date that are asked of a store; must not raise for a store that is away."""


@asynccontextmanager
async def open_probes(
    settings: ProbedSettings, port: int, ready: Ready, refresh: Refresh | None = None
) -> AsyncGenerator[None]:
    """Listen on METRICS_HOST and this port while the block runs; 0 = not at all. Raises SettingsError where taken."""
    if not port:
        yield
        return
    runner = web.AppRunner(_application(settings.metrics_token, ready, refresh), access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, settings.metrics_host, port).start()
        except OSError as error:
            message = f"cannot listen on {settings.metrics_host}:{port}: {error.strerror}"
            raise SettingsError(message) from error
        yield
    finally:
        await runner.cleanup()


def _application(token: str | None, ready: Ready, refresh: Refresh | None) -> web.Application:
    async def answer(request: web.Request) -> web.Response:
        match request.path if request.method in {"GET", "HEAD"} else "":
            case "/livez":
                return _json(HTTPStatus.OK, {"status": "alive"})
            case "/readyz":
                return _readiness(await ready())
            case "/metrics":
                return await _figures(request, token, refresh)
            case _:
                return _refusal(Code.NOT_FOUND, "There is GET /livez, /readyz and /metrics here, and nothing else.")

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    return application


def _readiness(report: Report) -> web.Response:
    if report.status == "unavailable":
        return _refusal(Code.STORE_UNAVAILABLE, report.complaint, {"parts": report.parts})
    return _json(HTTPStatus.OK, report)


async def _figures(request: web.Request, token: str | None, refresh: Refresh | None) -> web.Response:
    is_forwarded = any(name in request.headers for name in FORWARDED)
    authorization = request.headers.get("Authorization", "")
    if not may_scrape(token, authorization, request.remote or "", is_forwarded=is_forwarded):
        return _refusal(Code.UNAUTHENTICATED, REFUSED)
    if refresh is not None:
        await refresh()
    return web.Response(body=metrics.exposition(), headers={"Content-Type": metrics.CONTENT_TYPE})


def _json(status: int, body: object, content_type: str = "application/json") -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type=content_type)


def _refusal(code: Code, detail: str, context: dict[str, Any] | None = None) -> web.Response:
    document = problem(code, detail, new_request_id(), context=context)
    return _json(MEANINGS[code].status, document, CONTENT_TYPE)
