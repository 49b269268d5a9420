"""docker-compose.yml says what is so: settings, ports, commands, paths, and who can be reached from where."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from app.embedded.roles import MIGRATE_COMMAND, ROLE_COMMANDS
from app.settings import CoreSettings, FlusherSettings, JobsSettings, OwnerSettings, read
from edge import settings as edge_settings
from edge.settings import EdgeSettings
from tests.deploy.files import (
    COMPOSE,
    ENV_EXAMPLE,
    OURS,
    ROLES,
    ROOT,
    SERVICES,
    STORES,
    environment,
    example,
    read_env,
    variables,
)

KINDS = {
    "core": CoreSettings,
    "edge": EdgeSettings,
    "flusher": FlusherSettings,
    "jobs": JobsSettings,
    "migrate": OwnerSettings,
}
DATABASE_USERS = {
    "DATABASE_URL": "quotastack",
    "CORE_DATABASE_URL": "quotastack_core",
    "FLUSHER_DATABASE_URL": "quotastack_flusher",
    "JOBS_DATABASE_URL": "quotastack_jobs",
}


def settings_of(service: str) -> Any:
    """What the process itself makes of its variables; SettingsError where one is missing or wrong."""
    if service == "edge":
        return edge_settings.read(environment(service))
    return read(KINDS[service], environment(service))


def test_the_services_are_these() -> None:
    """Two stores, the migration, the four roles, the proxy."""
    assert SERVICES.keys() == {*STORES, *OURS, "proxy"}


@pytest.mark.parametrize("service", OURS)
def test_a_service_is_told_what_it_reads_and_nothing_else(service: str) -> None:
    """Every variable is a field of its settings; the process starts with them."""
    assert settings_of(service)
    fields = {name.upper() for name in KINDS[service].__struct_fields__}
    assert environment(service).keys() <= fields


def test_names_and_ports_lead_where_somebody_listens() -> None:
    """The ports are the defaults of the settings; every address names a service and its port."""
    core, edge = settings_of("core"), settings_of("edge")
    ports = {name: port for service in OURS for name, port in environment(service).items() if name.endswith("_PORT")}
    assert ports == {"FLUSHER_METRICS_PORT": "8003", "JOBS_METRICS_PORT": "8004"}
    assert (core.core_port, core.core_internal_port, edge.edge_port) == (8000, 8002, 8001)
    assert core.edge_url == f"http://edge:{edge.edge_port}"
    assert edge.core_internal_url == f"http://core:{core.core_internal_port}"
    assert {settings_of(role).redis_url for role in ROLES} == {"redis://valkey:6379"}
    probed = {"core": core.core_port, "edge": edge.edge_port, "flusher": 8003, "jobs": 8004}
    for service, port in probed.items():
        assert f"127.0.0.1:{port}/readyz" in SERVICES[service]["healthcheck"]["test"][-1]


def test_each_process_logs_in_as_itself() -> None:
    """One role and one password each; the migration knows all of them, and the same."""
    urls = [(name, url) for service in OURS for name, url in environment(service).items() if name in DATABASE_USERS]
    for name, url in urls:
        assert re.fullmatch(rf"postgresql://{DATABASE_USERS[name]}:[0-9a-f]{{64}}@postgres:5432/quotastack", url)
    assert len(set(urls)) == len({url for _, url in urls}) == len(DATABASE_USERS)
    assert environment("migrate")["DATABASE_URL"].split(":")[2].startswith(environment("postgres")["OWNER_PASSWORD"])


@pytest.mark.parametrize("service", OURS)
def test_commands_are_those_of_the_supervisor(service: str) -> None:
    """`python -m` and a module that exists, the same that `quotastack run` starts."""
    command = SERVICES[service]["command"]
    assert command == ["python", *{**ROLE_COMMANDS, "migrate": MIGRATE_COMMAND}[service][1:]]
    assert importlib.util.find_spec(command[2])


def test_images_have_names_and_versions() -> None:
    """One image of ours, at the version of the package; the others at a version that was chosen."""
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    ours = dict.fromkeys(OURS, f"quotastack:{version[1]}")
    theirs = {"postgres": "postgres:18", "valkey": "valkey/valkey:9", "proxy": "nginx:1.28-alpine"}
    assert {name: service["image"] for name, service in SERVICES.items()} == ours | theirs
    assert {name: service["build"] for name, service in SERVICES.items() if "build" in service} == {"migrate": "."}
    assert [SERVICES[role]["pull_policy"] for role in ROLES] == ["never"] * len(ROLES)


def test_only_the_proxy_can_be_reached() -> None:
    """It alone has a port on the machine, and it sees no store; the stores see nobody but those who use them."""
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["proxy"]
    assert not [name for name, service in SERVICES.items() if {"network_mode", "privileged"} & service.keys()]
    networks = {name: set(service["networks"]) for name, service in SERVICES.items()}
    assert networks["proxy"] == {"roles"}
    assert networks["core"] == networks["edge"] == {"roles", "stores"}
    assert all(networks[name] == {"stores"} for name in (*STORES, "migrate", "flusher", "jobs"))
    assert COMPOSE["networks"].keys() == {"roles", "stores"}


def test_what_is_mounted_exists() -> None:
    """Files of the repository, read-only; volumes that are declared, one for each store and one for the spool."""
    mounts = [mount.split(":") for service in SERVICES.values() for mount in service.get("volumes", [])]
    files = [mount for mount in mounts if mount[0].startswith("./")]
    assert all((ROOT / path).is_file() and options == ["ro"] for path, _, *options in files)
    volumes = {source: target for source, target, *_ in mounts if not source.startswith(".")}
    spool = environment("edge")["SPOOL_DIRECTORY"]
    assert volumes == {"postgres": "/var/lib/postgresql", "valkey": "/data", "spool": spool}
    assert f"--owner=quotastack --group=quotastack --mode=700 {spool}" in (ROOT / "Dockerfile").read_text()
    assert COMPOSE["volumes"].keys() == volumes.keys()


def test_everything_starts_in_order_and_again() -> None:
    """Stores before the migration, the migration before the roles, these before the proxy; all but one start again."""
    assert {name: service["restart"] for name, service in SERVICES.items()} == dict.fromkeys(
        SERVICES, "unless-stopped"
    ) | {"migrate": "no"}
    waits = {
        name: {on: how["condition"] for on, how in s.get("depends_on", {}).items()} for name, s in SERVICES.items()
    }
    healthy = "service_healthy"
    assert waits["migrate"] == {"postgres": healthy}
    started = {"postgres": healthy, "valkey": healthy, "migrate": "service_completed_successfully"}
    assert [waits[role] for role in ROLES] == [started] * len(ROLES)
    assert waits["proxy"] == {"core": healthy, "edge": healthy}
    listening = {name for name, service in SERVICES.items() if "healthcheck" in service}
    assert listening == {*STORES, *ROLES, "proxy"}


@pytest.mark.parametrize("service", OURS)
def test_our_containers_can_do_little(service: str) -> None:
    """No capability, no way to gain one, nothing to write to but /tmp and a volume; a first process that reaps."""
    assert SERVICES[service]["cap_drop"] == ["ALL"]
    assert SERVICES[service]["security_opt"] == ["no-new-privileges:true"]
    assert (SERVICES[service]["read_only"], SERVICES[service]["tmpfs"]) == (True, ["/tmp"])  # noqa: S108 - the container's
    assert SERVICES[service]["init"] is True


def test_the_template_has_every_variable_and_no_secret() -> None:
    """What has no default stands there empty, everything else at its default; .env itself is never committed."""
    assert example() == {name: default or "" for name, default in variables().items()}
    assert variables().keys() == example().keys()
    assert not re.search(r"[0-9a-zA-Z+/]{24,}", re.sub(r"[A-Z_]+=", "", ENV_EXAMPLE))
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


def test_the_page_fills_the_template_in(tmp_path: Path) -> None:
    """The line of docs/self-hosting.md that writes .env gives every secret a value of its own."""
    line = re.search(r"^while read .*$", (ROOT / "docs/self-hosting.md").read_text(), re.MULTILINE)
    assert line
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    subprocess.run(["/bin/sh", "-c", line[0]], cwd=tmp_path, check=True, timeout=30)
    written = read_env((tmp_path / ".env").read_text())
    secrets = [written[name] for name, default in variables().items() if default is None]
    assert written.keys() == example().keys()
    assert all(re.fullmatch("[0-9a-f]{64}", secret) for secret in secrets)
    assert len(set(secrets)) == len(secrets)
