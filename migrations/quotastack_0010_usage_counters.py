"""Units by period, and limits of them."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from app.io.migrate import sql_migration

ID = "0010_usage_counters"
VERSION = "1.38.0"
DESCRIPTION = "Units by period, and limits of them"


async def forwards() -> MigrationManager:
    """The step that Piccolo runs and remembers under ID."""
    return sql_migration(ID, DESCRIPTION)
