"""What happens to a block by itself."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from app.io.migrate import sql_migration

ID = "0007_block_terms"
VERSION = "1.38.0"
DESCRIPTION = "What happens to a block by itself"


async def forwards() -> MigrationManager:
    """The step that Piccolo runs and remembers under ID."""
    return sql_migration(ID, DESCRIPTION)
