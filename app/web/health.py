"""Whether the process lives, and whether it can work."""

import msgspec
from litestar import get
from litestar.di import NamedDependency

from app.errors import ServiceError
from app.io.postgres import Database, Transaction, applied_steps, known_steps
from app.io.redis import RedisStore
from app.wire.codes import Code


class Health(msgspec.Struct, frozen=True):
    """`alive` or `ready`."""

    status: str


@get("/livez", include_in_schema=False)
async def livez() -> Health:
    """The process lives."""
    return Health("alive")


@get("/readyz", include_in_schema=False)
async def readyz(database: NamedDependency[Database], redis: NamedDependency[RedisStore]) -> Health:
    """Postgres and Redis answer, and the schema is the one of this release."""

    async def read(tx: Transaction) -> list[str]:
        return await applied_steps(tx.connection)

    missing = sorted(set(known_steps()) - set(await database.run(None, read)))
    if missing:
        raise ServiceError(Code.STORE_UNAVAILABLE, f"Migrations have not run: {', '.join(missing)}.")
    await redis.ping()
    return Health("ready")


ROUTES = [livez, readyz]
