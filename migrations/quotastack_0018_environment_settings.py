"""What a tenant sets for an environment."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from app.io.migrate import sql_migration

ID = "0018_environment_settings"
VERSION = "1.38.0"
DESCRIPTION = "What a tenant sets for an environment"


async def forwards() -> MigrationManager:
    """The step that Piccolo runs and remembers under ID."""
    return sql_migration(ID, DESCRIPTION)
