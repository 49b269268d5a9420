"""Who asks: an API key of one environment, or the operator. Guards run before anything of the body is read."""

import hmac
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler

from app.errors import ServiceError
from app.io.clock import Clock, FrozenClock
from app.wire import keys
from app.wire.codes import Code
from app.wire.ids import show
from app.wire.rates import Asker
from app.wire.scopes import Scope, allows

Connection = ASGIConnection[Any, Any, Any, Any]
Guard = Callable[[Connection, BaseRouteHandler], Awaitable[None]]
_BEARER = "bearer "
SECURITY: list[dict[str, list[str]]] = [{"bearer": []}, {"api_key": []}]
"""What the OpenAPI document says of routes that take an API key."""
ADMIN_SECURITY: list[dict[str, list[str]]] = [{"admin": []}]


class Principal(msgspec.Struct, frozen=True):
    """An API key, and the one environment it belongs to."""

    environment_id: UUID
    environment_kind: str
    key_id: UUID
    scopes: frozenset[str]
    frozen_at: datetime | None = None
    """Where the test clock of the environment stands; None = it goes by the real time."""

    @property
    def asker(self) -> Asker:
        """Whose requests are counted."""
        return Asker(keys.environment_ref(self.environment_id), self.key_id)

    @property
    def actor(self) -> str:
        """How ledger and audit name who did something."""
        return show("key", self.key_id)

    @property
    def environment(self) -> str:
        """How the log names the environment."""
        return show("env", self.environment_id)


Authenticate = Callable[[str], Awaitable[Principal | None]]
"""From the text of a key to its principal; None where the key is not valid (any more)."""


def needs(*scopes: Scope) -> Guard:
    """A guard that lets in keys with at least one of `scopes`."""

    async def guard(connection: Connection, _handler: BaseRouteHandler) -> None:
        key = _credential(connection)
        if key is None:
            detail = "Send an API key as 'Authorization: Bearer qs_…' or 'X-API-Key: qs_…'."
            raise ServiceError(Code.UNAUTHENTICATED, detail)
        principal = await connection.app.state.authenticate(key)
        if principal is None:
            raise ServiceError(Code.UNAUTHENTICATED, "This API key is unknown, malformed, expired or revoked.")
        await connection.app.state.rates.admit(connection, principal.asker)
        if not any(allows(principal.scopes, scope) for scope in scopes):
            wanted = " or ".join(scopes)
            raise ServiceError(Code.MISSING_SCOPE, f"This route needs a key with the scope {wanted}.")
        connection.scope["user"] = principal

    return guard


async def needs_admin_token(connection: Connection, _handler: BaseRouteHandler) -> None:
    """A guard that lets the operator in."""
    if not _is_secret(connection, connection.app.state.admin_token):
        raise ServiceError(Code.UNAUTHENTICATED, "This route needs 'Authorization: Bearer <ADMIN_TOKEN>'.")


async def needs_internal_secret(connection: Connection, _handler: BaseRouteHandler) -> None:
    """A guard that lets in the processes of this installation."""
    if not _is_secret(connection, connection.app.state.internal_secret):
        raise ServiceError(Code.UNAUTHENTICATED, "This listener is for the edge only.")


def provide_clock(request: Request[Any, Any, Any], machine_clock: NamedDependency[Clock]) -> Clock:
    """What time it is where the request goes: by the test clock of its environment, or by the machine's."""
    principal = cast("Mapping[str, object]", request.scope).get("user")
    frozen_at = principal.frozen_at if isinstance(principal, Principal) else None
    return machine_clock if frozen_at is None else FrozenClock(frozen_at)


def provide_principal(request: Request[Principal, Any, Any]) -> Principal:
    """Who the guard let in."""
    return request.scope["user"]


def _bearer(connection: Connection) -> str | None:
    header = connection.headers.get("authorization", "")
    return header[len(_BEARER) :].strip() if header[: len(_BEARER)].lower() == _BEARER else None


def _credential(connection: Connection) -> str | None:
    return _bearer(connection) or connection.headers.get("x-api-key")


def _is_secret(connection: Connection, secret: str) -> bool:
    return hmac.compare_digest((_bearer(connection) or "").encode(), secret.encode())
