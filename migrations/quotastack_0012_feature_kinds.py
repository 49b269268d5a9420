"""Kinds of features, and what customers hold of gauges."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from app.io.migrate import sql_migration

ID = "0012_feature_kinds"
VERSION = "1.38.0"
DESCRIPTION = "Kinds of features, and what customers hold of gauges"


async def forwards() -> MigrationManager:
    """The step that Piccolo runs and remembers under ID."""
    return sql_migration(ID, DESCRIPTION)
