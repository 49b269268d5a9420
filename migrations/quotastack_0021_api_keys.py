"""API keys that tenants make, rotate and revoke."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from app.io.migrate import sql_migration

ID = "0021_api_keys"
VERSION = "1.38.0"
DESCRIPTION = "API keys that tenants make, rotate and revoke"


async def forwards() -> MigrationManager:
    """The step that Piccolo runs and remembers under ID."""
    return sql_migration(ID, DESCRIPTION)
