"""Terms, grants and versions of plans, and customers' own terms of features."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from app.io.migrate import sql_migration

ID = "0015_catalogue"
VERSION = "1.38.0"
DESCRIPTION = "Terms, grants and versions of plans, and customers' own terms of features"


async def forwards() -> MigrationManager:
    """The step that Piccolo runs and remembers under ID."""
    return sql_migration(ID, DESCRIPTION)
