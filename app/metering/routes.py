"""Routes of features and their default prices."""

from litestar import get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from app.io.clock import Clock
from app.io.postgres import Transaction
from app.metering import service, store
from app.metering.schemas import (
    FeatureBody,
    FeatureChange,
    NewFeature,
    PriceBody,
    PriceVersionBody,
    parse_price,
    show_feature,
    show_price_version,
)
from app.trail.idempotency import Mutation
from app.web.bodies import ExactResponse
from app.web.paging import Cursor, Limit, Listing, Page
from app.web.principal import SECURITY, needs
from app.web.reader import Reader
from app.wire.scopes import Scope

READ = needs(Scope.ENTITLEMENTS_READ, Scope.CATALOG_WRITE)
WRITE = needs(Scope.CATALOG_WRITE)
_FEATURES = Listing("features", str)
_PRICES = Listing("feature prices", int)
_OK = 200


@post("/v1/features", guards=[WRITE], security=SECURITY, tags=["Features"])
async def create_feature(data: JSONBody[NewFeature], mutation: NamedDependency[Mutation]) -> ExactResponse[FeatureBody]:
    """Make a feature. With a default price or value all customers can use it, else those whose plan sets one."""

    async def work(tx: Transaction) -> FeatureBody:
        return show_feature(*await service.create_feature(tx, data, mutation.now))

    return await mutation.run(data, work)


@get("/v1/features", guards=[READ], security=SECURITY, tags=["Features"])
async def list_features(
    reader: NamedDependency[Reader], clock: NamedDependency[Clock], limit: Limit = 100, cursor: Cursor = None
) -> Page[FeatureBody]:
    """Features by key."""
    after = _FEATURES.decode(cursor)

    async def work(tx: Transaction) -> Page[FeatureBody]:
        rows = await store.list_features(tx, after, limit + 1)
        prices = await store.read_default_prices(tx, [feature.id for feature in rows], clock.now())
        return _FEATURES.page(rows, limit, lambda row: show_feature(row, prices.get(row.id)), lambda row: row.key)

    return await reader.run(work)


@get("/v1/features/{key:str}", guards=[READ], security=SECURITY, tags=["Features"])
async def get_feature(
    key: FromPath[str], reader: NamedDependency[Reader], clock: NamedDependency[Clock]
) -> FeatureBody:
    """One feature."""

    async def work(tx: Transaction) -> FeatureBody:
        return show_feature(*await service.find_feature(tx, key, clock.now()))

    return await reader.run(work)


@patch("/v1/features/{key:str}", guards=[WRITE], security=SECURITY, tags=["Features"])
async def change_feature(
    key: FromPath[str], data: JSONBody[FeatureChange], mutation: NamedDependency[Mutation]
) -> ExactResponse[FeatureBody]:
    """Change the name, the default value or the CloudEvents of a feature.

    What was counted before stays; so does what customers hold of a gauge, whatever its cap becomes.
    """

    async def work(tx: Transaction) -> FeatureBody:
        return show_feature(*await service.change_feature(tx, key, data, mutation.now))

    return await mutation.run(data, work, status=_OK)


@post("/v1/features/{key:str}/prices", guards=[WRITE], security=SECURITY, tags=["Features"])
async def change_price(
    key: FromPath[str], data: JSONBody[PriceBody], mutation: NamedDependency[Mutation]
) -> ExactResponse[PriceVersionBody]:
    """Set a default price, now or from a moment on, for everybody or for usage with certain properties.

    What was used before stays as it was priced then.
    """
    price = parse_price(data)

    async def work(tx: Transaction) -> PriceVersionBody:
        return show_price_version(*await service.add_default_price(tx, key, price, mutation.now))

    return await mutation.run(data, work)


@get("/v1/features/{key:str}/prices", guards=[READ], security=SECURITY, tags=["Features"])
async def list_prices(
    key: FromPath[str],
    reader: NamedDependency[Reader],
    clock: NamedDependency[Clock],
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[PriceVersionBody]:
    """Default prices of a feature, newest first; those that are to come are among them."""
    before = _PRICES.decode(cursor)

    async def work(tx: Transaction) -> Page[PriceVersionBody]:
        feature, _ = await service.find_feature(tx, key, clock.now())
        rows = await store.list_default_prices(tx, feature.id, before, limit + 1)
        return _PRICES.page(rows, limit, lambda row: show_price_version(feature, row), lambda row: row.version)

    return await reader.run(work)


ROUTES = [create_feature, list_features, get_feature, change_feature, change_price, list_prices]
