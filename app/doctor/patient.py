"""What checks look at, and what they say of it."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

from app.io.cluster import ClusterClient
from app.io.postgres import Database, Record, Transaction
from app.io.redis import RedisStore
from app.io.statements import statements
from app.wire.agreement import Durability

_SQL = statements("app.doctor")
Status = Literal["ok", "warning", "problem", "unknown"]


class Verdict(msgspec.Struct, frozen=True):
    """What a check saw, and what to do where that is not as it should be."""

    status: Status
    seen: str
    remedy: str = ""


def ok(seen: str) -> Verdict:
    """As it should be."""
    return Verdict("ok", seen)


def warning(seen: str, remedy: str) -> Verdict:
    """It works, and should not go on like that."""
    return Verdict("warning", seen, remedy)


def problem(seen: str, remedy: str) -> Verdict:
    """Something does not work, or can be lost."""
    return Verdict("problem", seen, remedy)


def unknown(seen: str, remedy: str = "") -> Verdict:
    """It could not be looked at."""
    return Verdict("unknown", seen, remedy)


class Expected(msgspec.Struct, frozen=True):
    """What the settings say that is compared with what is there."""

    durability: Durability
    stream_max_entries: int
    spool_directory: str
    data_directory: str


class Patient(msgspec.Struct, frozen=True):
    """The stores and the settings of one system. What is None cannot be reached, or was not named."""

    environ: Mapping[str, str]
    expected: Expected
    now: Callable[[], datetime]
    database: Database | None
    redis: RedisStore | None

    async def fetch(self, statement: str, *arguments: object) -> list[Record]:
        """Rows of a statement of the doctor's, in a transaction of its own. Raises StoreAway where there is none."""

        async def read(tx: Transaction) -> list[Record]:
            return await tx.connection.fetch(_SQL[statement], *arguments)

        return await self.work(read)

    async def work(self, work: Callable[[Transaction], Awaitable[Any]]) -> Any:  # noqa: ANN401 - whatever `work` answers
        """Run `work` in a transaction that writes nothing. Raises StoreAway where there is no database."""
        if self.database is None:
            raise StoreAway("Postgres")

        async def read_only(tx: Transaction) -> object:
            await tx.connection.execute("SET TRANSACTION READ ONLY")
            return await work(tx)

        return await self.database.run(None, read_only)

    @property
    def memory(self) -> RedisStore:
        """Redis. Raises StoreAway where there is none."""
        if self.redis is None:
            raise StoreAway("Redis")
        return self.redis

    async def servers(self) -> list[Any]:
        """A client for each server of Redis that has data."""
        client = self.memory.client
        return await client.servers() if isinstance(client, ClusterClient) else [client]


class StoreAway(Exception):
    """A store that a check needs cannot be looked at. Its text is the store's name."""


class Check(msgspec.Struct, frozen=True):
    """One thing that is looked at. Its name stands in docs/operations.md."""

    name: str
    look: Callable[[Patient], Awaitable[Verdict]]
