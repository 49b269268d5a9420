"""What is bought: top-up packages, top-ups, and what a credit block says of its price."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from app.io.migrate import sql_migration

ID = "0004_topups"
VERSION = "1.38.0"
DESCRIPTION = "Top-up packages, top-ups, and what a credit block says of its price"


async def forwards() -> MigrationManager:
    """The step that Piccolo runs and remembers under ID."""
    return sql_migration(ID, DESCRIPTION)
