"""Which flushers are at work."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from app.io.migrate import sql_migration

ID = "0013_flushers"
VERSION = "1.38.0"
DESCRIPTION = "Which flushers are at work"


async def forwards() -> MigrationManager:
    """The step that Piccolo runs and remembers under ID."""
    return sql_migration(ID, DESCRIPTION)
