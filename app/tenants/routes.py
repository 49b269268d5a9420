"""Routes of tenants: for the operator, and for the edges."""

from litestar import post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from app.errors import invalid_value
from app.io.postgres import Transaction
from app.io.redis import RedisStore
from app.tenants import service
from app.tenants.schemas import KeyLoad, LoadOutcome, NewTenant, TenantCreated
from app.tenants.service import Keys
from app.trail.idempotency import OperatorMutation
from app.web.bodies import ExactResponse
from app.web.principal import ADMIN_SECURITY, needs_admin_token, needs_internal_secret


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
