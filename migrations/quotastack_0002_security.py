"""What each role may do, row-level security, and the two functions that look past it."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from app.io.migrate import sql_migration

ID = "0002_security"
VERSION = "1.38.0"
DESCRIPTION = "Grants, row-level security, and the two functions that look past it"


async def forwards() -> MigrationManager:
    """The step that Piccolo runs and remembers under ID."""
    return sql_migration(ID, DESCRIPTION)
