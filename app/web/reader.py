"""How routes read: in one transaction, in the environment of whoever asks."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from litestar.di import NamedDependency

from app.io.postgres import Database, Isolation, Transaction
from app.web.principal import Principal

Result = TypeVar("Result")


class Reader:
    """The database as one principal sees it."""

    def __init__(self, principal: Principal, database: Database) -> None:
        self.environment_id = principal.environment_id
        self._database = database

    async def run(
        self, work: Callable[[Transaction], Awaitable[Result]], *, isolation: Isolation = "read_committed"
    ) -> Result:
        """Do `work` in a transaction; with repeatable_read all of its statements see one moment."""
        return await self._database.run(self.environment_id, work, isolation=isolation)


def provide_reader(principal: NamedDependency[Principal], database: NamedDependency[Database]) -> Reader:
    """The database as handlers take it."""
    return Reader(principal, database)
