"""Keys of grants, and grants without a cycle."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from app.io.migrate import sql_migration

ID = "0017_catalogue_terms"
VERSION = "1.38.0"
DESCRIPTION = "Keys of grants, and grants without a cycle"


async def forwards() -> MigrationManager:
    """The step that Piccolo runs and remembers under ID."""
    return sql_migration(ID, DESCRIPTION)
