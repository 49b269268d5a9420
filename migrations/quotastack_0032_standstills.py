"""When subscriptions stood still, by subscription."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from app.io.migrate import sql_migration

ID = "0032_standstills"
VERSION = "1.38.0"
DESCRIPTION = "When subscriptions stood still, by subscription"


async def forwards() -> MigrationManager:
    """The step that Piccolo runs and remembers under ID."""
    return sql_migration(ID, DESCRIPTION)
