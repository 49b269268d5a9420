"""Rows of what is set for environments."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

import msgspec

from app.io.postgres import Record, Transaction
from app.io.statements import statements
from app.rules.thresholds import Threshold

_SQL = statements("app.environments")
_decoder = msgspec.json.Decoder(tuple[Threshold, ...])


class Settings(msgspec.Struct, frozen=True):
    """What is set for an environment; the defaults where nothing is."""

    free_variant_id: UUID | None = None
    auto_enroll: bool = False
    thresholds: tuple[Threshold, ...] = ()


class FreePlan(msgspec.Struct, frozen=True):
    """The variant that customers fall back to, its plan, and the version that they get now."""

    variant_id: UUID
    plan_id: UUID
    version_id: UUID


async def read_settings(tx: Transaction) -> Settings:
    """What is set for the environment."""
    return _settings_of(await tx.connection.fetchrow(_SQL["read_settings"], tx.environment))


async def lock_settings(tx: Transaction, now: datetime) -> Settings:
    """The same, locked until the transaction ends."""
    await tx.connection.execute(_SQL["insert_settings"], tx.environment, now)
    return _settings_of(await tx.connection.fetchrow(_SQL["lock_settings"], tx.environment))


def _settings_of(row: Record | None) -> Settings:
    if row is None:
        return Settings()
    return Settings(row["free_variant_id"], row["auto_enroll"], _decoder.decode(row["thresholds"]))


async def update_settings(tx: Transaction, settings: Settings, now: datetime) -> None:
    """What is set from now on; the row is locked."""
    thresholds = msgspec.json.encode(settings.thresholds).decode()
    arguments = (settings.free_variant_id, settings.auto_enroll, thresholds, now)
    await tx.connection.execute(_SQL["update_settings"], tx.environment, *arguments)


async def list_free_plans(tx: Transaction, environment_ids: Collection[UUID]) -> dict[UUID, FreePlan]:
    """The free plans of environments that have one."""
    rows = await tx.connection.fetch(_SQL["list_free_plans"], list(environment_ids))
    return {environment_id: FreePlan(*plan) for environment_id, *plan in rows}


async def list_thresholds(tx: Transaction, environment_ids: Collection[UUID]) -> dict[UUID, tuple[Threshold, ...]]:
    """The thresholds of environments that have some."""
    rows = await tx.connection.fetch(_SQL["list_thresholds"], list(environment_ids))
    return {row["environment_id"]: _decoder.decode(row["thresholds"]) for row in rows}
