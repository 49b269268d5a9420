"""Routes of tenants and their API keys: for the operator, for tenants, and for the edges."""

from typing import Annotated
from uuid import UUID

from litestar import delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from app.errors import invalid_value
from app.io.postgres import Transaction
from app.tenants import issuing, service, store
from app.tenants.issuing import Issuer
from app.tenants.schemas import (
    ApiKeyBody,
    ApiKeyChange,
    ApiKeyCreated,
    ApiKeyRevoked,
    ApiKeyRotated,
    KeyLoad,
    LoadOutcome,
    NewApiKey,
    NewTenant,
    Revocation,
    Rotation,
    TenantCreated,
    parse_key_id,
    show_key,
)
from app.tenants.service import Keys
from app.trail.idempotency import Mutation, OperatorMutation, Unchanged
from app.web.bodies import ExactResponse
from app.web.paging import Cursor, Limit, Listing, Page
from app.web.principal import (
    ADMIN_SECURITY,
    SECURITY,
    Principal,
    needs,
    needs_admin_token,
    needs_internal_secret,
)
from app.web.reader import Reader
from app.wire.scopes import Scope

WRITE = needs(Scope.KEYS_WRITE)
_KEYS = Listing("api keys", UUID)
Force = Annotated[bool, QueryParameter(description="Also where nobody could make keys any more.")]
_LIST = "/v1/api-keys"
_ONE = f"{_LIST}/{{api_key_id:str}}"
_OK = 200


@post("/v1/tenants", guards=[needs_admin_token], security=ADMIN_SECURITY, tags=["Tenants"])
async def create_tenant(
    data: JSONBody[NewTenant],
    operator_mutation: NamedDependency[OperatorMutation],
    api_keys: NamedDependency[Keys],
) -> ExactResponse[TenantCreated]:
    """Make a tenant. The two keys are shown once: a replay has null in their places."""

    async def work(tx: Transaction) -> TenantCreated:
        return await service.create_tenant(tx, api_keys, data.name, operator_mutation.asked_at)

    return await operator_mutation.run(data, work)


@post(_LIST, guards=[WRITE], security=SECURITY, tags=["API keys"])
async def create_api_key(
    data: JSONBody[NewApiKey],
    mutation: NamedDependency[Mutation],
    principal: NamedDependency[Principal],
    api_keys: NamedDependency[Keys],
) -> ExactResponse[ApiKeyCreated]:
    """Make a key of this environment, with scopes that the asking key has itself.

    The key is shown once. A replay of the request answers null in its place: revoke that key, and make another.
    """
    issuer = Issuer(api_keys, principal, mutation.asked_at)

    async def work(tx: Transaction) -> ApiKeyCreated:
        return await issuing.create_key(tx, issuer, data)

    return await mutation.run(data, work)


@get(_LIST, guards=[WRITE], security=SECURITY, tags=["API keys"])
async def list_api_keys(reader: NamedDependency[Reader], limit: Limit = 100, cursor: Cursor = None) -> Page[ApiKeyBody]:
    """Keys of this environment in the order in which they were made, those that have ended too."""
    after = _KEYS.decode(cursor)

    async def work(tx: Transaction) -> Page[ApiKeyBody]:
        return _KEYS.page(await store.list_keys(tx, after, limit + 1), limit, show_key, lambda row: row.id)

    return await reader.run(work)


@get(_ONE, guards=[WRITE], security=SECURITY, tags=["API keys"])
async def get_api_key(api_key_id: FromPath[str], reader: NamedDependency[Reader]) -> ApiKeyBody:
    """One key, without its secret."""
    wanted = parse_key_id(api_key_id)

    async def work(tx: Transaction) -> ApiKeyBody:
        return show_key(await issuing.find_key(tx, wanted))

    return await reader.run(work)


@patch(_ONE, guards=[WRITE], security=SECURITY, tags=["API keys"])
async def rename_api_key(
    api_key_id: FromPath[str], data: JSONBody[ApiKeyChange], mutation: NamedDependency[Mutation]
) -> ExactResponse[ApiKeyBody]:
    """Give a key another name. What it may do does not change: make another key for that."""
    wanted = parse_key_id(api_key_id)

    async def work(tx: Transaction) -> ApiKeyBody:
        return show_key(await issuing.rename_key(tx, wanted, data.name))

    return await mutation.run(data, work, status=_OK)


@delete(_ONE, guards=[WRITE], security=SECURITY, tags=["API keys"], status_code=_OK)
async def revoke_api_key(
    api_key_id: FromPath[str],
    mutation: NamedDependency[Mutation],
    principal: NamedDependency[Principal],
    api_keys: NamedDependency[Keys],
    force: Force = False,  # noqa: FBT002 - of a query
) -> ExactResponse[ApiKeyRevoked]:
    """Revoke a key: core refuses it from now on, and every edge within a second of this answer.

    What is revoked already stays so. The key that asks may revoke itself.
    """
    wanted, issuer = parse_key_id(api_key_id), Issuer(api_keys, principal, mutation.asked_at)

    async def work(tx: Transaction) -> ApiKeyRevoked | Unchanged:
        revoked = await issuing.revoke_key(tx, issuer, wanted, force=force)
        return revoked if tx.changes else Unchanged(revoked)

    return await mutation.run(Revocation(force), work, status=_OK)


@post(f"{_ONE}/rotate", guards=[WRITE], security=SECURITY, tags=["API keys"])
async def rotate_api_key(
    api_key_id: FromPath[str],
    data: JSONBody[Rotation],
    mutation: NamedDependency[Mutation],
    principal: NamedDependency[Principal],
    api_keys: NamedDependency[Keys],
) -> ExactResponse[ApiKeyRotated]:
    """Make a key with the name and scopes of another, which ends when the overlap is over.

    The new key is shown once. A replay of the request answers null in its place: rotate again, under another
    idempotency key.
    """
    wanted, issuer = parse_key_id(api_key_id), Issuer(api_keys, principal, mutation.asked_at)

    async def work(tx: Transaction) -> ApiKeyRotated:
        return await issuing.rotate_key(tx, issuer, wanted, data)

    return await mutation.run(data, work)


@post("/internal/keys/load", guards=[needs_internal_secret], status_code=200)
async def load_key(data: JSONBody[KeyLoad], api_keys: NamedDependency[Keys]) -> LoadOutcome:
    """Bring an API key into Redis."""
    try:
        digest = bytes.fromhex(data.digest)
    except ValueError as error:
        raise invalid_value("digest", "must be hexadecimal") from error
    return LoadOutcome(await api_keys.load(digest))


ROUTES = [
    create_tenant,
    create_api_key,
    list_api_keys,
    get_api_key,
    rename_api_key,
    revoke_api_key,
    rotate_api_key,
]
INTERNAL_ROUTES = [load_key]
