"""What does not agree, as jobs finds it."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from app.io.migrate import sql_migration

ID = "0025_reconciliation"
VERSION = "1.38.0"
DESCRIPTION = "What does not agree, as jobs finds it"


async def forwards() -> MigrationManager:
    """The step that Piccolo runs and remembers under ID."""
    return sql_migration(ID, DESCRIPTION)
