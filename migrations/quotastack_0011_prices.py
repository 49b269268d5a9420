"""Prices for usage whose properties match."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from app.io.migrate import sql_migration

ID = "0011_prices"
VERSION = "1.38.0"
DESCRIPTION = "Prices for usage whose properties match"


async def forwards() -> MigrationManager:
    """The step that Piccolo runs and remembers under ID."""
    return sql_migration(ID, DESCRIPTION)
