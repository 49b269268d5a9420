"""Every environment variable that the supervisor reads, once. An empty one counts as absent."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from msgspec import Meta

from app.embedded.errors import EmbeddedError
from app.settings import PostgresUrl, RunSettings, Secret, SettingsError, read
from app.wire.agreement import Durability

# The login role of each process that talks to Postgres, by the variable that holds its address.
DATABASE_ROLES: Final = {
    "CORE_DATABASE_URL": "quotastack_core",
    "FLUSHER_DATABASE_URL": "quotastack_flusher",
    "JOBS_DATABASE_URL": "quotastack_jobs",
}
SECRETS: Final = ("ADMIN_TOKEN", "KEY_PEPPER", "INTERNAL_SECRET", "WEBHOOK_KEY")

_LOOPBACK: Final = "127.0.0.1"
_EVERY_ADDRESS: Final = ("0.0.0.0", "::")  # noqa: S104 - recognised here, not bound

_FixedPort = Annotated[int, Meta(ge=1, le=65_535)]


class StackSettings(RunSettings, frozen=True, kw_only=True):
    """What is handed on to the roles, and therefore made up here where it is not given."""

    core_host: str = _LOOPBACK
    core_port: _FixedPort = 8000
    core_internal_host: str = _LOOPBACK
    core_internal_port: _FixedPort = 8002
    edge_host: str = _LOOPBACK
    edge_port: _FixedPort = 8001
    core_database_url: PostgresUrl | None = None
    flusher_database_url: PostgresUrl | None = None
    jobs_database_url: PostgresUrl | None = None
    admin_token: Secret | None = None
    key_pepper: Secret | None = None
    internal_secret: Secret | None = None
    webhook_key: Secret | None = None


@dataclass(frozen=True)
class Listener:
    """Where one of the roles listens, and the variables that move it."""

    name: str
    host: str
    port: int

    @property
    def host_variable(self) -> str:
        """The variable that holds the host."""
        return f"{self.name}_HOST"

    @property
    def port_variable(self) -> str:
        """The variable that holds the port."""
        return f"{self.name}_PORT"

    @property
    def url(self) -> str:
        """The base address for a client on this machine."""
        host = _LOOPBACK if self.host in _EVERY_ADDRESS else self.host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


@dataclass(frozen=True)
class StackEnvironment:
    """What the environment says about the stack; None and absent keys mean: make it yourself."""

    var_dir: Path
    durability: Durability
    database_url: str | None
    redis_url: str | None
    role_database_urls: Mapping[str, str]
    secrets: Mapping[str, str]
    core: Listener
    core_internal: Listener
    edge: Listener
    inherited: Mapping[str, str]

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Every address that the stack binds."""
        return self.core, self.core_internal, self.edge


def read_environment(environ: Mapping[str, str] = os.environ) -> StackEnvironment:
    """Read the variables. Raises EmbeddedError that names every one that cannot be used."""
    try:
        settings = read(StackSettings, environ)
    except SettingsError as error:
        raise EmbeddedError(str(error)) from error
    inherited = {name: value for name, value in environ.items() if value}
    return StackEnvironment(
        var_dir=Path(settings.var_dir).absolute(),
        durability=settings.durability,
        database_url=settings.database_url,
        redis_url=settings.redis_url,
        role_database_urls={name: inherited[name] for name in DATABASE_ROLES if name in inherited},
        secrets={name: inherited[name] for name in SECRETS if name in inherited},
        core=Listener("CORE", settings.core_host, settings.core_port),
        core_internal=Listener("CORE_INTERNAL", settings.core_internal_host, settings.core_internal_port),
        edge=Listener("EDGE", settings.edge_host, settings.edge_port),
        inherited=inherited,
    )


def role_database_url(owner_url: str, user: str, password: str) -> str:
    """Answer `owner_url` for another user: same server, same database, same options."""
    parts = urlsplit(owner_url)
    address = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{user}:{password}@{address}").geturl()
