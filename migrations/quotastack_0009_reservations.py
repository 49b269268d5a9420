"""Credit that is set aside for what is under way."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from app.io.migrate import sql_migration

ID = "0009_reservations"
VERSION = "1.38.0"
DESCRIPTION = "Credit that is set aside for what is under way"


async def forwards() -> MigrationManager:
    """The step that Piccolo runs and remembers under ID."""
    return sql_migration(ID, DESCRIPTION)
