"""Routes of plans and their variants."""

from litestar import get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from app.io.postgres import Transaction
from app.plans import service, store
from app.plans.schemas import NewPlan, PlanBody, PlanChange, VariantBody, VariantTerms, VersionTerms, show_plan
from app.trail.idempotency import Mutation
from app.web.bodies import ExactResponse
from app.web.paging import Cursor, Limit, Listing, Page
from app.web.principal import SECURITY, needs
from app.web.reader import Reader
from app.wire.scopes import Scope

READ = needs(Scope.ENTITLEMENTS_READ, Scope.CATALOG_WRITE)
WRITE = needs(Scope.CATALOG_WRITE)
_PLANS = Listing("plans", str)
_VARIANTS = Listing("plan variants", str)
_VERSIONS = Listing("plan variant versions", int)
_OK = 200


@post("/v1/plans", guards=[WRITE], security=SECURITY, tags=["Plans"])
async def create_plan(data: JSONBody[NewPlan], mutation: NamedDependency[Mutation]) -> ExactResponse[PlanBody]:
    """Make a plan. What it costs and gives is said by its variants."""

    async def work(tx: Transaction) -> PlanBody:
        return show_plan(await service.create_plan(tx, data, mutation.now))

    return await mutation.run(data, work)


@get("/v1/plans", guards=[READ], security=SECURITY, tags=["Plans"])
async def list_plans(reader: NamedDependency[Reader], limit: Limit = 100, cursor: Cursor = None) -> Page[PlanBody]:
    """Plans by key."""
    after = _PLANS.decode(cursor)

    async def work(tx: Transaction) -> Page[PlanBody]:
        return _PLANS.page(await store.list_plans(tx, after, limit + 1), limit, show_plan, lambda plan: plan.key)

    return await reader.run(work)


@get("/v1/plans/{key:str}", guards=[READ], security=SECURITY, tags=["Plans"])
async def get_plan(key: FromPath[str], reader: NamedDependency[Reader]) -> PlanBody:
    """One plan."""

    async def work(tx: Transaction) -> PlanBody:
        return show_plan(await service.find_plan(tx, key))

    return await reader.run(work)


@patch("/v1/plans/{key:str}", guards=[WRITE], security=SECURITY, tags=["Plans"])
async def change_plan(
    key: FromPath[str], data: JSONBody[PlanChange], mutation: NamedDependency[Mutation]
) -> ExactResponse[PlanBody]:
    """Change the name of a plan. What it costs and gives is changed by publishing versions of its variants."""

    async def work(tx: Transaction) -> PlanBody:
        return show_plan(await service.change_plan(tx, key, data))

    return await mutation.run(data, work, status=_OK)


@post("/v1/plans/{key:str}/variants", guards=[WRITE], security=SECURITY, tags=["Plans"])
async def create_variant(
    key: FromPath[str], data: JSONBody[VariantTerms], mutation: NamedDependency[Mutation]
) -> ExactResponse[VariantBody]:
    """Make a variant of a plan: how often it renews, what it grants, which features it includes."""

    async def work(tx: Transaction) -> VariantBody:
        return await service.create_variant(tx, key, data, mutation.now)

    return await mutation.run(data, work)


@get("/v1/plans/{key:str}/variants", guards=[READ], security=SECURITY, tags=["Plans"])
async def list_variants(
    key: FromPath[str], reader: NamedDependency[Reader], limit: Limit = 100, cursor: Cursor = None
) -> Page[VariantBody]:
    """Variants of a plan by key, at their present versions."""
    after = _VARIANTS.decode(cursor)

    async def work(tx: Transaction) -> Page[VariantBody]:
        plan = await service.find_plan(tx, key)
        variants = await store.list_variants(tx, plan.id, after, limit + 1)
        bodies = await service.describe(tx, variants)
        return _VARIANTS.page(bodies, limit, lambda body: body, lambda body: body.key)

    return await reader.run(work)


@get("/v1/plans/{key:str}/variants/{variant_key:str}", guards=[READ], security=SECURITY, tags=["Plans"])
async def get_variant(key: FromPath[str], variant_key: FromPath[str], reader: NamedDependency[Reader]) -> VariantBody:
    """One variant, at its present version."""

    async def work(tx: Transaction) -> VariantBody:
        return await service.show_present(tx, key, variant_key)

    return await reader.run(work)


@post("/v1/plans/{key:str}/variants/{variant_key:str}/versions", guards=[WRITE], security=SECURITY, tags=["Plans"])
async def publish_version(
    key: FromPath[str],
    variant_key: FromPath[str],
    data: JSONBody[VersionTerms],
    mutation: NamedDependency[Mutation],
) -> ExactResponse[VariantBody]:
    """Publish the next version of a variant. Who subscribes from now on gets it; subscribers stay on theirs."""

    async def work(tx: Transaction) -> VariantBody:
        return await service.publish_version(tx, key, variant_key, data, mutation.now)

    return await mutation.run(data, work)


@get("/v1/plans/{key:str}/variants/{variant_key:str}/versions", guards=[READ], security=SECURITY, tags=["Plans"])
async def list_versions(
    key: FromPath[str],
    variant_key: FromPath[str],
    reader: NamedDependency[Reader],
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[VariantBody]:
    """Versions of a variant, newest first."""
    before = _VERSIONS.decode(cursor)

    async def work(tx: Transaction) -> Page[VariantBody]:
        bodies = await service.list_versions(tx, key, variant_key, before, limit + 1)
        return _VERSIONS.page(bodies, limit, lambda body: body, lambda body: body.version)

    return await reader.run(work)


ROUTES = [
    create_plan,
    list_plans,
    get_plan,
    change_plan,
    create_variant,
    list_variants,
    get_variant,
    publish_version,
    list_versions,
]
