"""The audit log, keys that stay with the ledger, and the keys of operators."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from app.io.migrate import sql_migration

ID = "0020_audit"
VERSION = "1.38.0"
DESCRIPTION = "The audit log, keys that stay with the ledger, and the keys of operators"


async def forwards() -> MigrationManager:
    """The step that Piccolo runs and remembers under ID."""
    return sql_migration(ID, DESCRIPTION)
