"""Numbers of events, and webhooks."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from app.io.migrate import sql_migration

ID = "0023_webhooks"
VERSION = "1.38.0"
DESCRIPTION = "Numbers of events, and webhooks"


async def forwards() -> MigrationManager:
    """The step that Piccolo runs and remembers under ID."""
    return sql_migration(ID, DESCRIPTION)
