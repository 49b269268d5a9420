"""Routes of top-up packages and top-ups."""

from uuid import UUID

from litestar import get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody

from app.io.postgres import Transaction
from app.ledger import reading
from app.topups import service, store
from app.topups.schemas import (
    NewPackage,
    NewTopup,
    PackageBody,
    PackageChange,
    TopupBody,
    show_package,
    show_topup,
)
from app.topups.service import Occasion
from app.trail.idempotency import Mutation, Repeated
from app.web.bodies import ExactResponse
from app.web.paging import Cursor, Limit, Listing, Page
from app.web.principal import SECURITY, needs
from app.web.reader import Reader
from app.wire.scopes import Scope

READ_PACKAGES = needs(Scope.ENTITLEMENTS_READ, Scope.CATALOG_WRITE, Scope.CREDITS_WRITE)
WRITE_PACKAGES = needs(Scope.CATALOG_WRITE)
READ = needs(Scope.ENTITLEMENTS_READ, Scope.CREDITS_WRITE)
WRITE = needs(Scope.CREDITS_WRITE)
_PACKAGES = Listing("topup packages", str)
_TOPUPS = Listing("topups", UUID)
_OK = 200


@post("/v1/topup-packages", guards=[WRITE_PACKAGES], security=SECURITY, tags=["Top-ups"])
async def create_package(data: JSONBody[NewPackage], mutation: NamedDependency[Mutation]) -> ExactResponse[PackageBody]:
    """Make a package: so much credit for such a price. Its terms do not change."""

    async def work(tx: Transaction) -> PackageBody:
        return show_package(await service.create_package(tx, data, mutation.now))

    return await mutation.run(data, work)


@get("/v1/topup-packages", guards=[READ_PACKAGES], security=SECURITY, tags=["Top-ups"])
async def list_packages(
    reader: NamedDependency[Reader], limit: Limit = 100, cursor: Cursor = None
) -> Page[PackageBody]:
    """Packages by key, those that are not sold any more too."""
    after = _PACKAGES.decode(cursor)

    async def work(tx: Transaction) -> Page[PackageBody]:
        rows = await store.list_packages(tx, after, limit + 1)
        return _PACKAGES.page(rows, limit, show_package, lambda package: package.key)

    return await reader.run(work)


@get("/v1/topup-packages/{key:str}", guards=[READ_PACKAGES], security=SECURITY, tags=["Top-ups"])
async def get_package(key: FromPath[str], reader: NamedDependency[Reader]) -> PackageBody:
    """One package."""

    async def work(tx: Transaction) -> PackageBody:
        return show_package(await service.find_package(tx, key))

    return await reader.run(work)


@patch("/v1/topup-packages/{key:str}", guards=[WRITE_PACKAGES], security=SECURITY, tags=["Top-ups"])
async def change_package(
    key: FromPath[str], data: JSONBody[PackageChange], mutation: NamedDependency[Mutation]
) -> ExactResponse[PackageBody]:
    """Take a package off sale, or put it on sale again. What it gave to customers stays."""

    async def work(tx: Transaction) -> PackageBody:
        return show_package(await service.change_package(tx, key, active=data.active))

    return await mutation.run(data, work, status=_OK)


@post("/v1/topups", guards=[WRITE], security=SECURITY, tags=["Top-ups"])
async def create_topup(data: JSONBody[NewTopup], mutation: NamedDependency[Mutation]) -> ExactResponse[TopupBody]:
    """Make credit of a payment that your provider has confirmed. A payment reference grants once, for ever.

    The same payment once more, under any `Idempotency-Key` or none, gets the same answer with `Idempotent-Replayed`.
    """
    service.check_topup(data)
    occasion = Occasion(mutation.now, mutation.actor, mutation.key)

    async def work(tx: Transaction) -> TopupBody | Repeated:
        return await service.top_up(tx, data, occasion)

    return await mutation.run(data, work)


@get("/v1/topups", guards=[READ], security=SECURITY, tags=["Top-ups"])
async def list_topups(
    reader: NamedDependency[Reader],
    end_user_id: FromQuery[str | None] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[TopupBody]:
    """Top-ups of one customer or of all, newest first."""
    before = _TOPUPS.decode(cursor)

    async def work(tx: Transaction) -> Page[TopupBody]:
        account_id = None if end_user_id is None else (await reading.read_figures(tx, end_user_id)).account_id
        rows = await store.list_topups(tx, account_id, before, limit + 1)
        return _TOPUPS.page(rows, limit, show_topup, lambda row: row.id)

    return await reader.run(work)


ROUTES = [create_package, list_packages, get_package, change_package, create_topup, list_topups]
