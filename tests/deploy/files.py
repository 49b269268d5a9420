"""The files of a deployment as a test reads them: no Docker runs here, so they are held against the code itself."""

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
ENV_EXAMPLE = (ROOT / "deploy/env.example").read_text()
NGINX = (ROOT / "deploy/nginx.conf").read_text()

ROLES = ("core", "edge", "flusher", "jobs")
OURS = (*ROLES, "migrate")
STORES = ("postgres", "valkey")

_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?P<kind>:[-?])(?P<rest>[^}]*)\}")


def variables() -> dict[str, str | None]:
    """Every variable that the compose file takes from .env, with its default; None where it has to be there."""
    found = _VARIABLE.finditer((ROOT / "docker-compose.yml").read_text())
    return {match["name"]: match["rest"] if match["kind"] == ":-" else None for match in found}


def read_env(text: str) -> dict[str, str]:
    """The variables of an .env file."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def example() -> dict[str, str]:
    """The variables of deploy/env.example as they stand there."""
    return read_env(ENV_EXAMPLE)


def filled_in() -> dict[str, str]:
    """An .env as somebody would write it: each secret has 64 digits of its own, what may be empty is."""
    may_be_empty = {name for name, default in variables().items() if default == ""}
    names = [(name, value) for name, value in example().items() if name not in may_be_empty]
    return {name: value or f"{number:064x}" for number, (name, value) in enumerate(names)} | dict.fromkeys(
        may_be_empty, ""
    )


def environment(service: str) -> dict[str, str]:
    """What a service gets with that .env."""
    given: dict[str, str] = SERVICES[service].get("environment", {})
    return {name: _filled_in(value) for name, value in given.items()}


def command(service: str) -> list[str]:
    """What a service is started with, with that .env."""
    return [_filled_in(part) for part in SERVICES[service]["command"]]


def _filled_in(text: str) -> str:
    env = filled_in()
    return _VARIABLE.sub(lambda match: env[match["name"]], text)
