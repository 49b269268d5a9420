"""Metering of an ASGI application (Starlette, FastAPI, any): checked before the work, recorded after it.

    app.add_middleware(QuotaStackMiddleware, client=AsyncQuotaStack())

    async def answer(request):
        await charge(request, user_id, "ai_request")
        ...

`charge` refuses who may not: 402 or 403 as a problem document, and the work is not begun. What was charged is recorded
once the response has ended, if it was a success: a streamed one when its last piece is out, or its reader has left.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from http import HTTPStatus
from typing import Any, Protocol, TypeAlias
from uuid import uuid4

import msgspec

from quotastack._async.client import AsyncQuotaStack
from quotastack._async.waiting import to_the_end
from quotastack.answers import EntitlementCheck
from quotastack.errors import ConfigurationError
from quotastack.events import Number, UsageEvent
from quotastack.fallback import UNAVAILABLE

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

PLACE = "quotastack"
"""Of what a request is charged, in its scope."""
RETRY_AFTER_SECONDS = 1
_UNPAID = frozenset({"insufficient_credits", "limit_reached"})
_log = logging.getLogger("quotastack")


class Connection(Protocol):
    """A request, of whatever framework."""

    @property
    def scope(self) -> Scope:
        """As ASGI has it."""
        ...


class Denied(Exception):
    """The customer may not; QuotaStackMiddleware answers so."""

    def __init__(self, check: EntitlementCheck) -> None:
        super().__init__(f"{check.feature_key}: {check.reason}")
        self.check = check

    @property
    def status(self) -> HTTPStatus:
        """402 where a payment would help, 403 where it is the plan, 503 where nobody knows."""
        if self.check.reason == UNAVAILABLE:
            return HTTPStatus.SERVICE_UNAVAILABLE
        return HTTPStatus.PAYMENT_REQUIRED if self.check.reason in _UNPAID else HTTPStatus.FORBIDDEN

    def body(self) -> bytes:
        """The problem document (RFC 9457). It says nothing of the customer's credit."""
        return msgspec.json.encode(
            {
                "type": "about:blank",
                "title": self.status.phrase,
                "status": self.status,
                "detail": f"{self.check.feature_key} cannot be used now: {self.check.reason}.",
                "code": self.check.reason,
            }
        )


class Charge:
    """What one request uses of one feature. Set `units` to what it was in the end; 0 records nothing."""

    def __init__(self, event: UsageEvent, check: EntitlementCheck) -> None:
        self._event = event
        self.check = check
        self.units: Number = event.get("units", 1)

    def event(self) -> UsageEvent:
        """As it is recorded."""
        return {**self._event, "units": self.units}


class Charges:
    """What a request is charged."""

    def __init__(self, client: AsyncQuotaStack, idempotency_key: str) -> None:
        self._client = client
        self._key = idempotency_key
        self._all: list[Charge] = []

    async def add(
        self, end_user_id: str, feature_key: str, *, units: Number, properties: Mapping[str, Any] | None
    ) -> Charge:
        """Check, and note it. Raises Denied."""
        check = await self._client.check_entitlement(end_user_id, feature_key, units=units, properties=properties)
        if not check.allowed:
            raise Denied(check)
        # A request may use a feature several times; a key is one event of a feature.
        earlier = sum(1 for charge in self._all if charge.check.feature_key == feature_key)
        event: UsageEvent = {
            "end_user_id": end_user_id,
            "feature_key": feature_key,
            "units": units,
            "idempotency_key": f"{self._key}:{earlier}" if earlier else self._key,
            "properties": properties,
        }
        charge = Charge(event, check)
        self._all.append(charge)
        return charge

    async def record(self) -> None:
        """Record what was used. Nobody is left who could be told of a failure, so the log is."""
        events = [charge.event() for charge in self._all if charge.units]
        if not events:
            return
        try:
            items = await self._client.record_usage_batch(events)
        except Exception:  # noqa: BLE001 - nobody is left to be told
            _log.exception("usage of a request is LOST: %s", events)
            return
        for event, item in zip(events, items, strict=True):
            if item.status != "accepted":
                _log.error("usage of a request is %s: %s: %s %s", item.status, event, item.code, item.detail)


class QuotaStackMiddleware:
    """Gives each request its charges, answers who is denied, and records in the end.

    `key_header` names a header whose value is the idempotency key, so that a request that comes again is charged once.
    Name only one that your own gateway sets: whoever chooses the key chooses not to pay. Else each request has its own.
    """

    def __init__(self, app: Application, client: AsyncQuotaStack, *, key_header: str | None = None) -> None:
        self._app = app
        self._client = client
        self._key_header = None if key_header is None else key_header.lower().encode("latin-1")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; what is not HTTP is passed on as it is."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        charges = scope[PLACE] = Charges(self._client, self._key_of(scope))
        status = 0

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Denied as denied:
            if status:
                raise
            await _refuse(denied, send)
        finally:
            if HTTPStatus.OK <= status < HTTPStatus.BAD_REQUEST:
                await to_the_end(charges.record())

    def _key_of(self, scope: Scope) -> str:
        sent = {} if self._key_header is None else dict(scope["headers"])
        found = sent.get(self._key_header, b"").decode("latin-1")
        return found or str(uuid4())


async def charge(
    request: Connection,
    end_user_id: str,
    feature_key: str,
    *,
    units: Number = 1,
    properties: Mapping[str, Any] | None = None,
) -> Charge:
    """Check now, and record when the response has ended. Raises Denied, which the middleware answers."""
    if request.scope["type"] != "http":
        raise ConfigurationError("Requests of HTTP are charged so; of a websocket, record what it used yourself.")
    charges = request.scope.get(PLACE)
    if not isinstance(charges, Charges):
        raise ConfigurationError("The application has no QuotaStackMiddleware.")
    return await charges.add(end_user_id, feature_key, units=units, properties=properties)


async def _refuse(denied: Denied, send: Send) -> None:
    body = denied.body()
    headers = [(b"content-type", b"application/problem+json"), (b"content-length", str(len(body)).encode())]
    if denied.status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append((b"retry-after", str(RETRY_AFTER_SECONDS).encode()))
    await send({"type": "http.response.start", "status": int(denied.status), "headers": headers})
    await send({"type": "http.response.body", "body": body})
