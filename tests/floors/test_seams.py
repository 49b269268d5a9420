"""The outside world is reached through few doors: drivers, environment variables and SQL each have their files."""

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatch

from tests.floors.source import PRODUCT, Source, refuse, sources

DRIVER_HOMES = {
    "asyncpg": ("app/io/*",),
    "redis": ("app/io/*", "edge/redis*.py"),
    "aiohttp": ("app/io/*", "edge/core_client.py"),
    "prometheus_client": ("app/io/*",),
    "opentelemetry": ("app/io/otlp.py",),
    "httptools": ("app/io/*", "edge/server.py", "edge/http*.py"),
}
POSTGRES_ITSELF = ("app/io/postgres.py", "app/io/migrate.py", "app/embedded/postgres.py")
ENVIRONMENT_HOMES = ("app/settings.py", "edge/settings.py", "app/embedded/*")
SQL_HOMES = ("migrations/*", "*/store.py", "*/sql/*", *POSTGRES_ITSELF)

SQL = re.compile(
    r"\s*(?:(?:SELECT|INSERT|UPDATE|DELETE|WITH|CREATE|ALTER|GRANT)\s"
    r"|(?i:select\s.+\sfrom\s|insert\s+into\s|update\s+\S+\s+set\s|delete\s+from\s|with\s+\w+\s+as\s*\())",
    re.DOTALL,
)
ENVIRONMENT_NAMES = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}


def at_home(source: Source, homes: tuple[str, ...]) -> bool:
    """Whether the file is one of `homes` (patterns)."""
    return any(fnmatch(source.path, home) for home in homes)


def stray_drivers(source: Source) -> Iterator[str]:
    """Imports of a driver outside its home."""
    for line, module in source.imports:
        driver = module.partition(".")[0]
        if driver in DRIVER_HOMES and not at_home(source, DRIVER_HOMES[driver]):
            yield source.at(line, f"imports {module}")


def stray_environment(source: Source) -> Iterator[str]:
    """Uses of environment variables outside the settings."""
    if at_home(source, ENVIRONMENT_HOMES):
        return
    for node in source.nodes:
        match node:
            case ast.Attribute(value=ast.Name(id="os"), attr=name) if name in ENVIRONMENT_NAMES:
                yield source.at(node.lineno, f"os.{name}")
            case ast.ImportFrom(module="os", names=names) if {name.name for name in names} & ENVIRONMENT_NAMES:
                yield source.at(node.lineno, "import from os")


def stray_sql(source: Source) -> Iterator[str]:
    """Statements outside the places for SQL."""
    if at_home(source, SQL_HOMES):
        return
    for node in source.nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.match(node.value):
            yield source.at(node.lineno, f"{node.value.strip()[:40]!r}")


def test_drivers_stay_in_their_files() -> None:
    """Drivers, and what else talks to the outside, are imported only where the process meets that."""
    repair = "Reach the store through app/io (in the edge: edge/redis*.py, edge/core_client.py, edge/server.py)."
    refuse((offence for source in sources(*PRODUCT) for offence in stray_drivers(source)), repair)


def test_environment_is_read_in_settings_only() -> None:
    """Every variable has one place, where it is checked at start."""
    repair = "Add the variable to app/settings.py or edge/settings.py and hand its value down as an argument."
    refuse((offence for source in sources(*PRODUCT) for offence in stray_environment(source)), repair)


def test_sql_stays_in_its_files() -> None:
    """SQL stands where a reader looks for it: migrations, store.py, sql/, and the files about Postgres itself."""
    repair = "Move the statement to the store.py of its domain, or to a file in its sql/ folder."
    refuse((offence for source in sources(*PRODUCT) for offence in stray_sql(source)), repair)
