"""Which variant a change was to that a payment came with."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from app.io.migrate import sql_migration

ID = "0030_variant_asked"
VERSION = "1.38.0"
DESCRIPTION = "Which variant a change was to that a payment came with"


async def forwards() -> MigrationManager:
    """The step that Piccolo runs and remembers under ID."""
    return sql_migration(ID, DESCRIPTION)
