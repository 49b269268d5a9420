"""Real Starlette and FastAPI applications that are metered by the Python SDK."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, MutableMapping
from typing import Annotated, Any
from uuid import uuid4

import aiohttp
import httpx
import pytest
from fastapi import Depends, FastAPI, Header, HTTPException
from fastapi.responses import StreamingResponse
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from quotastack import AsyncQuotaStack, ConfigurationError
from quotastack.integrations.asgi import Charge, QuotaStackMiddleware, charge
from quotastack.integrations.fastapi import metered
from tests.docs.blocks import blocks_of
from tests.flow.stack import drained
from tests.sdks.conftest import CREDITS, Shop
from tests.waiting import wait_until_async

Application = Callable[..., Coroutine[Any, Any, None]]
KEY_HEADER = "X-Request-Id"


@pytest.fixture
async def client(shop: Shop) -> AsyncIterator[AsyncQuotaStack]:
    """Of the shop."""
    async with AsyncQuotaStack(shop.key, url=shop.stack.core_url, edge_url=shop.stack.edge_url) as opened:
        yield opened


@pytest.fixture
async def ada(client: AsyncQuotaStack, shop: Shop) -> str:
    """A customer on the plan."""
    user = f"user_{uuid4().hex[:8]}"
    await client.subscribe(user, shop.plan_variant_id)
    return user


@pytest.fixture
async def charged(shop: Shop, session: aiohttp.ClientSession, ada: str) -> Callable[[float], Awaitable[None]]:
    """That so much was charged, and no more, once the usage has arrived."""

    async def check(units: float) -> None:
        async def has_arrived() -> bool:
            return (await drained(shop.core(session), ada))["total"] <= CREDITS - units

        await wait_until_async(has_arrived, 20, "the usage to arrive")
        assert (await drained(shop.core(session), ada))["total"] == CREDITS - units

    return check


# ---- the applications


async def pieces() -> AsyncIterator[bytes]:
    """A streamed answer."""
    for number in range(5):
        yield f"piece {number}\n".encode()


def starlette_application(client: AsyncQuotaStack) -> Application:
    """Charges in its endpoints."""

    async def answer(request: Request) -> Response:
        await charge(request, request.headers["x-user"], request.query_params.get("feature", "ai_request"))
        return PlainTextResponse("answered", int(request.query_params.get("status", "200")))

    async def tokens(request: Request) -> Response:
        used = await charge(request, request.headers["x-user"], "api_calls", properties={"model": "large"})
        await charge(request, request.headers["x-user"], "api_calls")
        used.units = 2.5
        return PlainTextResponse("counted")

    async def fail(request: Request) -> Response:
        await charge(request, request.headers["x-user"], "ai_request")
        raise ZeroDivisionError

    async def stream(request: Request) -> Response:
        used = await charge(request, request.headers["x-user"], "api_calls")

        async def counted() -> AsyncIterator[bytes]:
            used.units = 0
            async for piece in pieces():
                used.units += 1
                yield piece

        return StreamingResponse(counted())

    routes = [Route(f"/{endpoint.__name__}", endpoint) for endpoint in (answer, tokens, fail, stream)]
    application = Starlette(routes=routes)
    application.add_middleware(QuotaStackMiddleware, client=client, key_header=KEY_HEADER)
    return application


def current_user(x_user: Annotated[str | None, Header()] = None) -> str:
    """What the application knows of who asks."""
    if x_user is None:
        raise HTTPException(401)
    return x_user


def fastapi_application(client: AsyncQuotaStack) -> Application:
    """Charges by dependencies."""
    application = FastAPI()
    application.add_middleware(QuotaStackMiddleware, client=client, key_header=KEY_HEADER)
    request_is_one = Depends(metered("ai_request", user=current_user))

    @application.get("/answer", dependencies=[request_is_one])
    async def answer(status: int = 200) -> Response:
        return PlainTextResponse("answered", status)

    @application.get("/fail", dependencies=[request_is_one])
    async def fail() -> Response:
        raise ZeroDivisionError

    @application.get("/stream")
    async def stream(used: Annotated[Charge, Depends(metered("api_calls", user=current_user, units=5))]) -> Response:
        async def counted() -> AsyncIterator[bytes]:
            used.units = 0
            async for piece in pieces():
                used.units += 1
                yield piece

        return StreamingResponse(counted())

    return application


@pytest.fixture(params=[starlette_application, fastapi_application])
def application(request: pytest.FixtureRequest, client: AsyncQuotaStack) -> Application:
    """Both of them."""
    return request.param(client)


def browser(application: Application, user: str | None) -> httpx.AsyncClient:
    """Somebody who asks; what the application raises is a 500 to them."""
    transport = httpx.ASGITransport(application, raise_app_exceptions=False)
    headers = {} if user is None else {"X-User": user}
    return httpx.AsyncClient(transport=transport, base_url="http://shop", headers=headers)


# ---- the tests


async def test_what_succeeds_is_charged(application: Application, ada: str, charged: Any) -> None:
    """Once a request; the same request again, by the gateway's header, costs nothing more; a failure costs nothing."""
    async with browser(application, ada) as user:
        for _ in range(2):
            assert (await user.get("/answer")).text == "answered"
        for _ in range(2):
            assert (await user.get("/answer", headers={KEY_HEADER: f"{ada} 1"})).status_code == 200
        assert (await user.get("/answer", params={"status": 302})).status_code == 302
        for status in (400, 404, 500):
            assert (await user.get("/answer", params={"status": status})).status_code == status
        assert (await user.get("/fail")).status_code == 500
    await charged(4)


async def test_who_may_not_is_refused(application: Application, ada: str, client: AsyncQuotaStack) -> None:
    """Before the work, with a problem document: 402 without credit, 403 without a plan."""
    async with browser(application, ada) as user, browser(application, "nobody") as nobody:
        await client.record_usage(ada, feature_key="api_calls", units=CREDITS)
        for asker, status, code in ((user, 402, "insufficient_credits"), (nobody, 403, "unknown_customer")):
            refused = await asker.get("/answer")
            assert refused.headers["content-type"] == "application/problem+json"
            assert refused.json() | {"detail": "", "title": ""} == {
                "type": "about:blank",
                "title": "",
                "status": status,
                "detail": "",
                "code": code,
            }
            assert refused.status_code == status
            assert str(CREDITS) not in refused.text


async def test_who_is_nobody_is_not_asked_about(client: AsyncQuotaStack) -> None:
    """The application's own 401 comes first."""
    async with browser(fastapi_application(client), None) as nobody:
        assert (await nobody.get("/answer")).status_code == 401


async def test_while_the_service_is_away(ada: str) -> None:
    """503 where the fail mode is closed; where it is open the work is done, and what it came to is kept."""
    nowhere = {"api_key": "qs_test_x", "url": "http://127.0.0.1:9", "attempts": 1}
    async with AsyncQuotaStack(**nowhere) as closed:
        async with browser(starlette_application(closed), ada) as user:
            refused = await user.get("/answer")
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        assert refused.headers["retry-after"]
    async with AsyncQuotaStack(**nowhere, fail_mode="open") as opened:
        async with browser(starlette_application(opened), ada) as user:
            assert (await user.get("/answer")).text == "answered"
        assert (await opened.flush()).waiting == 1


async def test_units_are_what_they_were_in_the_end(ada: str, client: AsyncQuotaStack, charged: Any) -> None:
    """A feature may be charged more than once in a request, with what each came to."""
    async with browser(starlette_application(client), ada) as user:
        for _ in range(2):
            assert (await user.get("/tokens", headers={KEY_HEADER: ada})).text == "counted"
    await charged(3.5)


async def test_a_stream_is_charged_when_it_ends(application: Application, ada: str, charged: Any) -> None:
    """With what was counted meanwhile."""
    async with browser(application, ada) as user:
        assert len((await user.get("/stream")).text.splitlines()) == 5
    await charged(5)


@pytest.mark.parametrize("how", ["refuses", "says so", "cancels"])
async def test_a_stream_whose_reader_leaves(application: Application, ada: str, charged: Any, how: str) -> None:
    """What was sent until then is charged, however the server hears that nobody listens any more."""
    gone, sent = asyncio.Event(), list[MutableMapping[str, Any]]()
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4" if how == "refuses" else "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/stream",
        "raw_path": b"/stream",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"x-user", ada.encode())],
        "server": ("shop", 80),
        "client": ("127.0.0.1", 1),
    }
    requests = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> MutableMapping[str, Any]:
        if requests:
            return requests.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)
        if len([one for one in sent if one.get("body")]) == 3:
            gone.set()
            if how == "refuses":
                raise OSError("the reader is gone")
            await asyncio.Event().wait()

    serving = asyncio.create_task(application(scope, receive, send))
    if how == "cancels":
        await gone.wait()
        while not serving.done():
            serving.cancel()
            await asyncio.sleep(0)
    (outcome,) = await asyncio.gather(serving, return_exceptions=True)
    # Frameworks differ in what they make of it.
    assert outcome is None or type(outcome).__name__ in {"ClientDisconnect", "CancelledError", "OSError"}
    await charged(3)


async def test_the_page(shop: Shop, ada: str, charged: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it shows is a metered application."""
    for name, value in shop.variables.items():
        monkeypatch.setenv(name, value)
    (block,) = [one.text for one in blocks_of("sdks/python/README.md") if "FastAPI()" in one.text]
    names: dict[str, Any] = {"current_user": current_user, "generate_response": str.upper}
    exec(block, names)  # noqa: S102 - it is ours
    async with browser(names["app"], ada) as user:
        assert (await user.post("/answers", params={"prompt": "hello"})).json() == "HELLO"
        assert (
            await user.post("/answers", params={"prompt": "hello"}, headers={"X-User": "nobody"})
        ).status_code == 403
    await charged(1)


async def test_what_is_not_metered(client: AsyncQuotaStack, ada: str) -> None:
    """Sockets and the start of the application pass; a charge without the middleware is a mistake that is named."""
    passed: list[str] = []

    async def inner(scope: Any, _receive: Any, _send: Any) -> None:
        passed.append(scope["type"])

    middleware = QuotaStackMiddleware(inner, client)
    for kind in ("lifespan", "websocket"):
        await middleware({"type": kind}, None, None)  # type: ignore[arg-type]
    assert passed == ["lifespan", "websocket"]
    with pytest.raises(ConfigurationError, match="QuotaStackMiddleware"):
        await charge(Request({"type": "http"}), ada, "ai_request")


async def test_a_websocket_is_told_why() -> None:
    """It has no response with whose end it could be charged; the middleware is there all the same."""
    with pytest.raises(ConfigurationError, match="websocket"):
        await charge(HTTPConnection({"type": "websocket"}), "ada", "tokens")
