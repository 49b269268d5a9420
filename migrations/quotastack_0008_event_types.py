"""Which CloudEvents a feature counts."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from app.io.migrate import sql_migration

ID = "0008_event_types"
VERSION = "1.38.0"
DESCRIPTION = "Which CloudEvents a feature counts"


async def forwards() -> MigrationManager:
    """The step that Piccolo runs and remembers under ID."""
    return sql_migration(ID, DESCRIPTION)
