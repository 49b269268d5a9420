"""A row for each time that a reservation is opened."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from app.io.migrate import sql_migration

ID = "0014_opened_again"
VERSION = "1.38.0"
DESCRIPTION = "A row for each time that a reservation is opened"


async def forwards() -> MigrationManager:
    """The step that Piccolo runs and remembers under ID."""
    return sql_migration(ID, DESCRIPTION)
