"""The tables that Piccolo queries are the tables that the migrations make."""
# ruff: noqa: SLF001 - Piccolo keeps what it knows of a table in _meta

from pathlib import Path

from piccolo.apps.migrations.tables import Migration
from piccolo.columns import (
    JSON,
    JSONB,
    UUID,
    Array,
    BigInt,
    Boolean,
    Bytea,
    Column,
    Date,
    Integer,
    Numeric,
    SmallInt,
    Text,
    Timestamptz,
)

from app.piccolo_app import APP_CONFIG
from tests.app.schema.catalogue import connected, tables
from tests.conftest import DatabaseUrls

TYPES: dict[type[Column], str] = {
    Array: "text[]",
    BigInt: "bigint",
    Boolean: "boolean",
    Bytea: "bytea",
    Date: "date",
    Integer: "integer",
    JSON: "json",
    JSONB: "jsonb",
    Numeric: "numeric(38,0)",
    SmallInt: "smallint",
    Text: "text",
    Timestamptz: "timestamp with time zone",
    UUID: "uuid",
}
COLUMNS = """
    SELECT relname, attname, format_type(atttypid, atttypmod) AS type, NOT attnotnull AS nullable
    FROM pg_attribute JOIN pg_class ON attrelid = pg_class.oid
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
          AND attnum > 0 AND NOT attisdropped
"""


async def test_tables_are_what_the_migrations_make(urls: DatabaseUrls) -> None:
    """Same tables, same columns, same types, same columns that may be NULL."""
    declared = {
        (table._meta.tablename, column._meta.name): (TYPES[type(column)], column._meta.null)
        for table in APP_CONFIG.table_classes
        for column in table._meta.columns
    }
    async with connected(urls.owner) as connection:
        found = {
            (row["relname"], row["attname"]): (row["type"], row["nullable"])
            for row in await connection.fetch(COLUMNS)
            if row["relname"] != Migration._meta.tablename
        }
        names = await tables(connection)
    assert declared == found
    assert {table._meta.tablename for table in APP_CONFIG.table_classes} | {"migration"} == names


def test_every_step_is_run(repository: Path) -> None:
    """SQL without a module beside it is run by nobody."""
    modules = {path.stem.removeprefix("quotastack_") for path in (repository / "migrations").glob("quotastack_*.py")}
    assert {path.stem for path in (repository / "migrations" / "sql").glob("*.sql")} == modules
