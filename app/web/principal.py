"""Who asks: an API key of one environment, or the operator. Guards run before anything of the body is read."""

import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, cast
from uuid import UUID

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler

from app.errors import ServiceError
from app.io.clock import Clock, FrozenClock
from app.rules.addresses import Network
from app.rules.guesses import Attempts
from app.rules.moments import to_at
from app.wire import forwarded, keys
from app.wire.codes import Code
from app.wire.ids import show
from app.wire.rates import Asker
from app.wire.scopes import Scope, allows

Connection = ASGIConnection[Any, Any, Any, Any]
Guard = Callable[[Connection, BaseRouteHandler], Awaitable[None]]
_BEARER = "bearer "
SECURITY: list[dict[str, list[str]]] = [{"bearer": []}, {"api_key": []}]
"""What the OpenAPI document says of routes that take an API key."""
Authenticate = Callable[[str, str], Awaitable["Principal | None"]]
"""From the text of a key, and the address that sent it, to its principal; None where it is not valid (any more)."""
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


class Door(msgspec.Struct, frozen=True):
    """What guards look at: it is core's `state.door`."""

    authenticate: Authenticate
    admin_token: str
    proxies: Sequence[Network]
    """Whose word is taken for the address that a request came from."""
    attempts: Attempts
    """With the operator's token."""
    clock: Clock

    def admit_operator(self, address: str, token: str) -> None:
        """Let the operator in. Raises ServiceError: UNAUTHENTICATED, TOO_MANY_REQUESTS after many wrong tokens."""
        now = to_at(self.clock.now())
        if not self.attempts.allows(address, now):
            raise too_many_attempts()
        if not is_same(token, self.admin_token):
            if token:
                self.attempts.fail(address, now)
            raise ServiceError(Code.UNAUTHENTICATED, "This route needs 'Authorization: Bearer <ADMIN_TOKEN>'.")


def too_many_attempts() -> ServiceError:
    """The refusal of who has shown too much that is neither a key nor a token."""
    return ServiceError(Code.TOO_MANY_REQUESTS, "Too many keys that are none came from this address; try again.")


def is_same(shown: str, secret: str) -> bool:
    """Whether somebody knows a secret, in a time that says nothing of either, nor of how long they are."""
    return hmac.compare_digest(sha256(shown.encode()).digest(), sha256(secret.encode()).digest())


def address_of(connection: Connection) -> str:
    """The address of who asks, as far as trusted proxies tell."""
    return forwarded.address_of(*_way_of(connection))


def _client_of(connection: Connection) -> str:
    """Which client asks."""
    return forwarded.client_of(*_way_of(connection))


def _way_of(connection: Connection) -> tuple[str, str, Sequence[Network]]:
    peer = connection.scope["client"]
    forwarded_for = ",".join(connection.headers.getall(forwarded.HEADER, []))
    return peer[0] if peer else "", forwarded_for, connection.app.state.door.proxies


def needs(*scopes: Scope) -> Guard:
    """A guard that lets in keys with at least one of `scopes`."""

    async def guard(connection: Connection, _handler: BaseRouteHandler) -> None:
        key = _credential(connection)
        if key is None:
            detail = "Send an API key as 'Authorization: Bearer qs_…' or 'X-API-Key: qs_…'."
            raise ServiceError(Code.UNAUTHENTICATED, detail)
        principal = await connection.app.state.door.authenticate(key, _client_of(connection))
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
    connection.app.state.door.admit_operator(_client_of(connection), _bearer(connection) or "")


async def needs_internal_secret(connection: Connection, _handler: BaseRouteHandler) -> None:
    """A guard that lets in the processes of this installation."""
    if not is_same(_bearer(connection) or "", connection.app.state.internal_secret):
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
