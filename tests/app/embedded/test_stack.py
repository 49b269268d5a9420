"""`quotastack run` with stand-ins for the roles: real servers, real processes, a real core's answers."""

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest
import redis

from app.embedded.postgres import start_postgres
from app.embedded.valkey import start_valkey
from tests.app.embedded.running_stack import (
    ELSEWHERE,
    StartStack,
    launch,
    refused,
    stack_environment,
    wait_all_gone,
)
from tests.waiting import wait_until

DEV_MEMBERS = {
    "core_url",
    "edge_url",
    "admin_token",
    "tenant_id",
    "sandbox_key",
    "live_key",
    "plan_variant_id",
    "feature_key",
    "database_url",
    "redis_url",
    "pids",
}
PARTS = {"core", "edge", "flusher", "jobs", "postgres", "redis"}


def mode(path: Path) -> int:
    """The permission bits."""
    return path.stat().st_mode & 0o777


def test_dev_json_tells_programs_all_they_need(start_stack: StartStack) -> None:
    """Exactly the members that are promised, and every process alive; nobody else may read it."""
    stack = start_stack()
    assert set(stack.dev) == DEV_MEMBERS
    assert set(stack.pids) == PARTS
    assert stack.dev["sandbox_key"] == "qs_test_1"
    assert stack.dev["plan_variant_id"] == "var_qs_test_1_pro"
    assert stack.dev["admin_token"] == stack.kept("core.env")["ADMIN_TOKEN"]
    assert mode(stack.var_dir) == 0o700
    assert mode(stack.var_dir / "dev.json") == mode(stack.var_dir / "secrets.json") == 0o600
    with redis.Redis.from_url(stack.dev["redis_url"]) as client:
        assert client.ping()


def test_ctrl_c_stops_everything_and_the_data_stay(start_stack: StartStack) -> None:
    """Nothing is left running, `dev.json` is gone; the next run has the same tenant, keys and secrets."""
    first = start_stack()
    dev, pids = first.dev, first.pids
    status, output = first.stop(signal.SIGINT)
    assert status == 0
    assert output.count("\ncurl ") == 3
    assert "qs_test_1" in output
    assert "\x1b" not in output
    assert not (first.var_dir / "dev.json").exists()
    wait_all_gone(pids, 0)

    second = start_stack()
    same = ("admin_token", "tenant_id", "sandbox_key", "live_key", "plan_variant_id", "database_url", "redis_url")
    assert {name: second.dev[name] for name in same} == {name: dev[name] for name in same}
    assert len(second.kept("stand-in-keys")) == 2


def test_both_environments_get_the_same_catalogue(start_stack: StartStack) -> None:
    """The demo is one feature and two plans, in sandbox and live."""
    made = start_stack(**ELSEWHERE).kept("stand-in-made")
    sandbox = [(path, body) for key, path, body in made if key == "qs_test_1"]
    live = [(path, body) for key, path, body in made if key == "qs_live_1"]
    assert sandbox == live
    assert [path for path, _ in sandbox if path.endswith("/variants")] == [
        "/v1/plans/free/variants",
        "/v1/plans/pro/variants",
    ]


def test_an_unfinished_demo_is_finished(start_stack: StartStack) -> None:
    """A run that was killed between tenant and catalogue makes no second tenant."""
    first = start_stack(**ELSEWHERE)
    first.stop()
    path = first.var_dir / "secrets.json"
    kept = json.loads(path.read_text())
    kept["demo"]["plan_variant_id"] = None
    path.write_text(json.dumps(kept))
    second = start_stack(**ELSEWHERE)
    assert second.dev["plan_variant_id"] == "var_qs_test_1_pro"
    assert len(second.kept("stand-in-keys")) == 2


def test_a_demo_of_another_database_is_made_anew(start_stack: StartStack) -> None:
    """Where core does not know the kept key, a new tenant is made."""
    first = start_stack(**ELSEWHERE)
    first.stop()
    (first.var_dir / "stand-in-keys.json").write_text('["qs_test_a", "qs_live_a"]')
    assert start_stack(**ELSEWHERE).dev["sandbox_key"] == "qs_test_2"


def test_a_killed_part_is_started_again(start_stack: StartStack) -> None:
    """Within a second, and `dev.json` says so; the other parts stay."""
    stack = start_stack()
    for part in sorted(PARTS):
        before = stack.pids
        os.kill(before[part], signal.SIGKILL)
        wait_until(lambda part=part, old=before[part]: stack.pids[part] != old, 30, f"{part} is started again")
        after = stack.pids
        assert {name for name in PARTS if after[name] != before[name]} == {part}


def test_nothing_survives_a_killed_supervisor(start_stack: StartStack) -> None:
    """Not even SIGKILL leaves roles or servers behind, and the next run finds nothing in its way."""
    stack = start_stack()
    pids = stack.pids
    stack.stop(signal.SIGKILL)
    wait_all_gone(pids)
    assert start_stack().dev["tenant_id"] == "ten_1"


def test_each_role_knows_only_its_own_secrets(start_stack: StartStack) -> None:
    """The owner's address goes to the migration alone, the admin token to core alone."""
    stack = start_stack(**ELSEWHERE)
    confidential = {
        "DATABASE_URL",
        "CORE_DATABASE_URL",
        "FLUSHER_DATABASE_URL",
        "JOBS_DATABASE_URL",
        "ADMIN_TOKEN",
        "KEY_PEPPER",
        "INTERNAL_SECRET",
        "WEBHOOK_KEY",
    }
    known = {
        role: confidential & set(stack.kept(f"{role}.env")) for role in ("core", "edge", "flusher", "jobs", "migrate")
    }
    assert known == {
        "core": {"CORE_DATABASE_URL", "ADMIN_TOKEN", "KEY_PEPPER", "INTERNAL_SECRET", "WEBHOOK_KEY"},
        "edge": {"KEY_PEPPER", "INTERNAL_SECRET"},
        "flusher": {"FLUSHER_DATABASE_URL"},
        "jobs": {"JOBS_DATABASE_URL", "WEBHOOK_KEY"},
        "migrate": {"DATABASE_URL", "CORE_DATABASE_URL", "FLUSHER_DATABASE_URL", "JOBS_DATABASE_URL"},
    }
    edge = stack.kept("edge.env")
    assert edge["CORE_INTERNAL_URL"].endswith(f":{edge['CORE_INTERNAL_PORT']}")
    assert stack.kept("core.env")["EDGE_URL"].endswith(f":{edge['EDGE_PORT']}")


def test_servers_of_the_environment_are_used(start_stack: StartStack, tmp_path: Path) -> None:
    """Where addresses are given nothing embedded is started, and none of it is stopped."""
    with start_postgres(tmp_path) as postgres, start_valkey(tmp_path) as valkey:
        stack = start_stack(DATABASE_URL=postgres.url_owner, REDIS_URL=valkey.url, ADMIN_TOKEN="a" * 32)
        assert (stack.dev["database_url"], stack.dev["redis_url"]) == (postgres.url_owner, valkey.url)
        assert set(stack.pids) == {"core", "edge", "flusher", "jobs"}
        assert stack.dev["admin_token"] == "a" * 32
        assert "ADMIN_TOKEN" not in json.loads((stack.var_dir / "secrets.json").read_text())["secrets"]
        assert not (stack.var_dir / "data").exists()
        stack.stop()
        assert not postgres.has_ended()
        assert not valkey.has_ended()


@pytest.mark.parametrize("variable", ["CORE_PORT", "CORE_INTERNAL_PORT", "EDGE_PORT"])
def test_a_taken_port_is_named(tmp_path: Path, variable: str) -> None:
    """One line, before anything is started, with the variable to change."""
    environment = stack_environment(tmp_path / "var")
    with socket.create_server(("127.0.0.1", int(environment[variable]))):
        output = refused(environment)
    assert output == f"Port {environment[variable]} on 127.0.0.1 is taken: set {variable} to a free one.\n"
    assert not (tmp_path / "var" / "data").exists()


def test_two_roles_on_one_port_are_found(tmp_path: Path) -> None:
    """A port that we take ourselves is taken too."""
    environment = stack_environment(tmp_path / "var")
    output = refused({**environment, "EDGE_PORT": environment["CORE_PORT"]})
    assert "set EDGE_PORT to a free one" in output


def test_a_second_run_is_refused(start_stack: StartStack) -> None:
    """One stack per directory; the first one is not disturbed."""
    stack = start_stack(**ELSEWHERE)
    dev = stack.dev
    assert "Another `quotastack run` uses" in refused(stack_environment(stack.var_dir))
    assert stack.dev == dev


def test_a_directory_that_is_open_to_others_is_refused(tmp_path: Path) -> None:
    """Secrets go into a private directory; one that was named and holds things is not changed by us."""
    tmp_path.chmod(0o755)
    (tmp_path / "something").touch()
    assert "chmod 700" in refused(stack_environment(tmp_path))
    assert mode(tmp_path) == 0o755


def test_variables_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    """All of them at once, and no value is shown."""
    output = refused({**stack_environment(tmp_path), "CORE_PORT": "0", "ADMIN_TOKEN": "too-short"})
    assert "CORE_PORT" in output
    assert "ADMIN_TOKEN" in output
    assert "too-short" not in output


def test_a_role_that_ends_while_starting_is_shown(tmp_path: Path) -> None:
    """The end of its log is in the message, and what had been started is stopped."""
    environment = stack_environment(tmp_path / "var")
    output = refused({**environment, **ELSEWHERE, "STAND_IN_FAILS": "core"})
    assert "core ended while starting" in output
    assert "the stand-in was told to fail" in output


def test_a_migration_that_fails_is_shown(tmp_path: Path) -> None:
    """The roles are not started on a schema that is not there."""
    output = refused({**stack_environment(tmp_path / "var"), **ELSEWHERE, "STAND_IN_FAILS": "migrate"})
    assert "The migration failed" in output
    assert "the stand-in was told to fail" in output
    assert "core " not in output


def test_ctrl_c_on_the_way_up_stops_what_was_started(tmp_path: Path) -> None:
    """An interrupted start leaves nothing behind either."""
    environment = stack_environment(tmp_path / "var")
    process = launch(environment)
    data_dir = tmp_path / "var" / "data"
    wait_until(lambda: any("ready to" in log.read_text() for log in data_dir.glob("pg*.log")), 30, "Postgres is up")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert process.stdout is not None
    process.stdout.close()
    found = subprocess.run(["ps", "-axo", "command="], capture_output=True, text=True, check=True).stdout  # noqa: S607
    assert str(tmp_path) not in found
