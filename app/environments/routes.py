"""Routes of what is set for an environment."""

from litestar import get, patch
from litestar.di import NamedDependency
from litestar.params import JSONBody

from app.environments import service
from app.environments.schemas import EnvironmentBody, EnvironmentChange, show_environment
from app.io.postgres import Transaction
from app.trail import audit
from app.trail.idempotency import Mutation
from app.web.bodies import ExactResponse
from app.web.principal import SECURITY, Principal, needs
from app.web.reader import Reader
from app.wire.scopes import Scope

READ = needs(Scope.ENTITLEMENTS_READ, Scope.CATALOG_WRITE)
WRITE = needs(Scope.CATALOG_WRITE)
_PATH = "/v1/environment"
_OK = 200


@get(_PATH, guards=[READ], security=SECURITY, tags=["Environment"])
async def get_environment(reader: NamedDependency[Reader], principal: NamedDependency[Principal]) -> EnvironmentBody:
    """The environment of the key: its free plan, and where customers' credit is low."""

    async def work(tx: Transaction) -> EnvironmentBody:
        return show_environment(tx.environment, principal.environment_kind, await service.read_settings(tx))

    return await reader.run(work)


@patch(_PATH, guards=[WRITE], security=SECURITY, tags=["Environment"])
async def change_environment(
    data: JSONBody[EnvironmentChange],
    mutation: NamedDependency[Mutation],
    principal: NamedDependency[Principal],
) -> ExactResponse[EnvironmentBody]:
    """Set the free plan, whether unknown end users are enrolled in it, and where credit is low.

    The free plan is a variant of a base plan, postpaid and without a trial.
    """

    async def work(tx: Transaction) -> EnvironmentBody:
        before, after = (
            show_environment(tx.environment, principal.environment_kind, settings)
            for settings in await service.change_settings(tx, data, mutation.now)
        )
        audit.changed(tx, "environment", after.environment_id, before=before)
        return after

    return await mutation.run(data, work, status=_OK)


ROUTES = [get_environment, change_environment]
