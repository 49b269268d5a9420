"""What is read in pages is read in the order of an index."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from app.io.migrate import sql_migration

ID = "0031_reading_at_size"
VERSION = "1.38.0"
DESCRIPTION = "What is read in pages is read in the order of an index"


async def forwards() -> MigrationManager:
    """The step that Piccolo runs and remembers under ID."""
    return sql_migration(ID, DESCRIPTION)
