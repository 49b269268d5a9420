"""Routes of tenants: for the operator, and for the edges."""

from litestar import Request, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import JSONBody

from app.errors import invalid_value
from app.io.clock import Clock
from app.io.postgres import Database
from app.io.redis import RedisStore
from app.tenants import service
from app.tenants.schemas import KeyLoad, LoadOutcome, NewTenant, TenantCreated
from app.tenants.service import Keys
from app.trail.idempotency import HEADER
from app.web.principal import ADMIN_SECURITY, needs_admin_token, needs_internal_secret


@post("/v1/tenants", guards=[needs_admin_token], security=ADMIN_SECURITY, tags=["Tenants"])
async def create_tenant(
    data: JSONBody[NewTenant],
    request: Request[None, None, State],
    database: NamedDependency[Database],
    api_keys: NamedDependency[Keys],
    clock: NamedDependency[Clock],
) -> TenantCreated:
    """Make a tenant. Takes no Idempotency-Key: the answer holds the keys in clear, and those are never stored."""
    if HEADER in request.headers:
        raise invalid_value(HEADER, "is not taken here: the answer holds keys in clear, which are never stored")
    now = clock.now()
    return await database.run(None, lambda tx: service.create_tenant(tx, api_keys, data.name, now))


@post("/internal/keys/load", guards=[needs_internal_secret], status_code=200)
async def load_key(
    data: JSONBody[KeyLoad], api_keys: NamedDependency[Keys], redis: NamedDependency[RedisStore]
) -> LoadOutcome:
    """Bring an API key into Redis."""
    try:
        digest = bytes.fromhex(data.digest)
    except ValueError as error:
        raise invalid_value("digest", "must be hexadecimal") from error
    return LoadOutcome("loaded" if await api_keys.load(redis, digest) else "unknown")


ROUTES = [create_tenant]
INTERNAL_ROUTES = [load_key]
