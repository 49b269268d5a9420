"""Test clocks of sandbox environments."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from app.io.migrate import sql_migration

ID = "0019_test_clock"
VERSION = "1.38.0"
DESCRIPTION = "Test clocks of sandbox environments"


async def forwards() -> MigrationManager:
    """The step that Piccolo runs and remembers under ID."""
    return sql_migration(ID, DESCRIPTION)
