"""A test clock that is frozen at a later moment is on its way there."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from app.io.migrate import sql_migration

ID = "0029_freezing_ahead"
VERSION = "1.38.0"
DESCRIPTION = "A test clock that is frozen at a later moment is on its way there"


async def forwards() -> MigrationManager:
    """The step that Piccolo runs and remembers under ID."""
    return sql_migration(ID, DESCRIPTION)
