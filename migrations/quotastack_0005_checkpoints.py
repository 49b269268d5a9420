"""Daily checkpoints of the ledger."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from app.io.migrate import sql_migration

ID = "0005_checkpoints"
VERSION = "1.38.0"
DESCRIPTION = "Daily checkpoints of the ledger"


async def forwards() -> MigrationManager:
    """The step that Piccolo runs and remembers under ID."""
    return sql_migration(ID, DESCRIPTION)
