"""Usage events by month, the keys that find them, and usage by hour."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from app.io.migrate import sql_migration

ID = "0003_usage_storage"
VERSION = "1.38.0"
DESCRIPTION = "Usage events by month, the keys that find them, and usage by hour"


async def forwards() -> MigrationManager:
    """The step that Piccolo runs and remembers under ID."""
    return sql_migration(ID, DESCRIPTION)
