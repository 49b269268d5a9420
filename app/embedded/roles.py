"""The four roles: how each is started, and the environment that each gets."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from app.embedded.environment import DATABASE_ROLES, SECRETS, StackEnvironment, role_database_url
from app.embedded.secret_file import database_password

ROLE_COMMANDS: Final[Mapping[str, tuple[str, ...]]] = {
    "core": (sys.executable, "-m", "app.main"),
    "edge": (sys.executable, "-m", "edge.main"),
    "flusher": (sys.executable, "-m", "app.flusher"),
    "jobs": (sys.executable, "-m", "app.jobs"),
}
MIGRATE_COMMAND: Final = (sys.executable, "-m", "app.cli", "migrate")

# Who may know what. Everything else in the environment is no secret and goes to everybody.
_CONFIDENTIAL: Final = frozenset({"DATABASE_URL", *DATABASE_ROLES, *SECRETS, "METRICS_TOKEN"})
_CONFIDED: Final[Mapping[str, frozenset[str]]] = {
    "core": frozenset(
        {"CORE_DATABASE_URL", "ADMIN_TOKEN", "KEY_PEPPER", "INTERNAL_SECRET", "WEBHOOK_KEY", "METRICS_TOKEN"}
    ),
    "edge": frozenset({"KEY_PEPPER", "INTERNAL_SECRET", "METRICS_TOKEN"}),
    "flusher": frozenset({"FLUSHER_DATABASE_URL", "METRICS_TOKEN"}),
    "jobs": frozenset({"JOBS_DATABASE_URL", "WEBHOOK_KEY", "METRICS_TOKEN"}),
    "migrate": frozenset({"DATABASE_URL", *DATABASE_ROLES}),
}


@dataclass(frozen=True)
class Stores:
    """The addresses of the two stores: Postgres as the owner, and Redis or Valkey."""

    database_url: str
    redis_url: str


def child_environments(
    environment: StackEnvironment, secrets: Mapping[str, str], stores: Stores
) -> dict[str, dict[str, str]]:
    """Answer the environment of each role and of the migration, by name."""
    everything = {
        "PYTHONUNBUFFERED": "1",  # so that a log tells what happened before a crash
        "CORE_INTERNAL_URL": environment.core_internal.url,
        "EDGE_URL": environment.edge.url,
        "SPOOL_DIRECTORY": str(environment.var_dir / "data" / "spool"),  # goes with the data that it belongs to
        "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8,::1/128",  # whoever tries it out listens on this machine
        **environment.inherited,
        **_listener_variables(environment),
        **secrets,
        "VAR_DIR": str(environment.var_dir),
        "REDIS_URL": stores.redis_url,
        "DATABASE_URL": stores.database_url,
        **_role_urls(environment, secrets, stores.database_url),
    }
    return {
        name: {key: value for key, value in everything.items() if key not in _CONFIDENTIAL or key in confided}
        for name, confided in _CONFIDED.items()
    }


def _listener_variables(environment: StackEnvironment) -> dict[str, str]:
    hosts = {listener.host_variable: listener.host for listener in environment.listeners}
    ports = {listener.port_variable: str(listener.port) for listener in environment.listeners}
    return {**hosts, **ports}


def _role_urls(environment: StackEnvironment, secrets: Mapping[str, str], owner_url: str) -> dict[str, str]:
    derived = {
        variable: role_database_url(owner_url, user, database_password(secrets["INTERNAL_SECRET"], user))
        for variable, user in DATABASE_ROLES.items()
    }
    return {**derived, **environment.role_database_urls}
