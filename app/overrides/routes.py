"""Routes of what single customers have of features."""

from litestar import delete, get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from app.io.clock import Clock
from app.io.postgres import Transaction
from app.overrides import service
from app.overrides.schemas import OverrideBody, OverrideTerms
from app.trail.idempotency import Mutation, NoBody
from app.web.bodies import ExactResponse
from app.web.paging import Cursor, Limit, Listing, Page
from app.web.principal import SECURITY, needs
from app.web.reader import Reader
from app.wire.scopes import Scope

READ = needs(Scope.ENTITLEMENTS_READ, Scope.SUBSCRIPTIONS_WRITE)
WRITE = needs(Scope.SUBSCRIPTIONS_WRITE)
_OVERRIDES = Listing("overrides", str)
_LIST = "/v1/customers/{end_user_id:str}/overrides"
_PATH = f"{_LIST}/{{feature_key:str}}"
_OK = 200


@put(_PATH, guards=[WRITE], security=SECURITY, tags=["Customers"])
async def set_override(
    end_user_id: FromPath[str],
    feature_key: FromPath[str],
    data: JSONBody[OverrideTerms],
    mutation: NamedDependency[Mutation],
) -> ExactResponse[OverrideBody]:
    """Give a customer something of a feature that the plan does not say, or take it away from them.

    It takes the place of what was set before. Edges know of it before the answer.
    """

    async def work(tx: Transaction) -> OverrideBody:
        return await service.set_override(tx, end_user_id, feature_key, data, mutation.now)

    return await mutation.run(data, work, status=_OK)


@get(_PATH, guards=[READ], security=SECURITY, tags=["Customers"])
async def get_override(
    end_user_id: FromPath[str],
    feature_key: FromPath[str],
    reader: NamedDependency[Reader],
    clock: NamedDependency[Clock],
) -> OverrideBody:
    """What was set for a customer and a feature, also where it has expired."""

    async def work(tx: Transaction) -> OverrideBody:
        return await service.find_override(tx, end_user_id, feature_key, clock.now())

    return await reader.run(work)


@get(_LIST, guards=[READ], security=SECURITY, tags=["Customers"])
async def list_overrides(
    end_user_id: FromPath[str],
    reader: NamedDependency[Reader],
    clock: NamedDependency[Clock],
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[OverrideBody]:
    """All that was set for a customer, by feature; what has expired is among it, and says so."""
    after = _OVERRIDES.decode(cursor)

    async def work(tx: Transaction) -> Page[OverrideBody]:
        bodies = await service.list_overrides(tx, end_user_id, after, limit + 1, clock.now())
        return _OVERRIDES.page(bodies, limit, lambda body: body, lambda body: body.feature_key)

    return await reader.run(work)


@delete(_PATH, guards=[WRITE], security=SECURITY, tags=["Customers"], status_code=_OK)
async def remove_override(
    end_user_id: FromPath[str], feature_key: FromPath[str], mutation: NamedDependency[Mutation]
) -> ExactResponse[OverrideBody]:
    """Let the plan hold again. Edges know of it before the answer, which is what was set until now."""

    async def work(tx: Transaction) -> OverrideBody:
        return await service.remove_override(tx, end_user_id, feature_key, mutation.now)

    return await mutation.run(NoBody(), work, status=_OK)


ROUTES = [set_override, get_override, list_overrides, remove_override]
