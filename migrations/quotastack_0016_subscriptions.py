"""Subscriptions that time moves, and their history."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from app.io.migrate import sql_migration

ID = "0016_subscriptions"
VERSION = "1.38.0"
DESCRIPTION = "Subscriptions that time moves, and their history"


async def forwards() -> MigrationManager:
    """The step that Piccolo runs and remembers under ID."""
    return sql_migration(ID, DESCRIPTION)
