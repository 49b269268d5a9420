"""`python -m docs.demo.server`: the app alone, on whatever QuotaStack its variables name."""

import asyncio
import signal
import sys
from http import HTTPStatus
from typing import Any, Final

import msgspec
import uvloop
from granian.constants import Interfaces
from granian.server.embed import Server
from litestar import Litestar, Request, Response
from litestar.di import Provide

from docs.demo.encoding import answer
from docs.demo.files import show_file
from docs.demo.parts import Parts, open_parts
from docs.demo.routes import ROUTES, attribute, signed_in
from docs.demo.settings import Settings, read
from quotastack import QuotaStackError

SECURITY: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
STOP_SECONDS: Final = 0.5
"""How long answers under way are waited for; then they end, and what was streamed is charged."""


def make_application(parts: Parts) -> Litestar:
    """The routes, and the page beside them."""
    return Litestar(
        [*ROUTES, show_file],
        dependencies={
            "customer": Provide(signed_in, sync_to_thread=False),
            "parts": Provide(lambda: parts, sync_to_thread=False),
        },
        before_request=attribute,
        exception_handlers={QuotaStackError: refused},
        response_headers=SECURITY,
        openapi_config=None,
        logging_config=None,
    )


def refused(_request: Request[Any, Any, Any], error: QuotaStackError) -> Response[bytes]:
    """What QuotaStack refused, or that it did not answer, in its own words."""
    status = error.status if error.status is not None and error.status >= HTTPStatus.BAD_REQUEST else None
    return answer({"code": error.code, "detail": error.detail}, status or HTTPStatus.SERVICE_UNAVAILABLE)


async def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_parts(settings) as parts:
        server = Server(
            make_application(parts),
            settings.demo_host,
            settings.demo_port,
            interface=Interfaces.ASGINL,
            websockets=False,
            log_enabled=False,
        )
        serving = asyncio.create_task(server.serve())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        server.stop()
        await asyncio.wait([serving], timeout=STOP_SECONDS)
        serving.cancel()


if __name__ == "__main__":
    try:
        uvloop.run(serve(read()))
    except msgspec.ValidationError as error:
        sys.exit(f"docs.demo.server: {error}")
