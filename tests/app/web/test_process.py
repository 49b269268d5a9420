"""`python -m app.main` as a process: how it starts, serves, and ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app.embedded.ports import Listener, require_free
from app.embedded.valkey import EmbeddedValkey
from tests.app.core import SECRETS
from tests.conftest import DatabaseUrls
from tests.flow.stack import free_ports
from tests.waiting import wait_until

START_SECONDS = 30
STOP_SECONDS = 10


@pytest.fixture
def environment(urls: DatabaseUrls, valkey: EmbeddedValkey) -> dict[str, str]:
    """The variables of a core on free ports."""
    ports = dict(zip(("CORE_PORT", "CORE_INTERNAL_PORT"), map(str, free_ports(2)), strict=True))
    secrets = {name.upper(): value for name, value in SECRETS.items()}
    stores = {"CORE_DATABASE_URL": urls.of("quotastack_core"), "REDIS_URL": valkey.url}
    return {"PATH": os.environ["PATH"], **stores, **ports, **secrets, "PARTITIONS": "4"}


@contextmanager
def running(environment: dict[str, str], repository: Path) -> Iterator[subprocess.Popen[str]]:
    """The process, which has ended when the block has."""
    command = [sys.executable, "-W", "error::DeprecationWarning", "-m", "app.main"]
    with subprocess.Popen(
        command, cwd=repository, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def answers(environment: dict[str, str], process: subprocess.Popen[str]) -> httpx.Response | None:
    """What /readyz says, if anybody is there."""
    assert process.poll() is None, process.stderr and process.stderr.read()
    try:
        return httpx.get(f"http://127.0.0.1:{environment['CORE_PORT']}/readyz")
    except httpx.TransportError:
        return None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_and_ends_cleanly(environment: dict[str, str], repository: Path, number: signal.Signals) -> None:
    """Both listeners answer; a signal ends it with status 0 within seconds, and its ports are free."""
    with running(environment, repository) as process:
        ready = wait_until(lambda: answers(environment, process), START_SECONDS, "core to answer")
        assert (ready.status_code, ready.json()) == (200, {"status": "ready"})
        internal = f"http://127.0.0.1:{environment['CORE_INTERNAL_PORT']}/internal/keys/load"
        assert httpx.post(internal, json={}).json()["code"] == "unauthenticated"
        process.send_signal(number)
        assert process.wait(STOP_SECONDS) == 0
        assert process.stdout is not None
        assert process.stdout.read() == ""
    require_free(Listener(name, "127.0.0.1", int(environment[f"{name}_PORT"])) for name in ("CORE", "CORE_INTERNAL"))


def test_a_taken_port_is_said(environment: dict[str, str], repository: Path) -> None:
    """Two cores never share a port without a word."""
    with running(environment, repository) as process:
        wait_until(lambda: answers(environment, process), START_SECONDS, "core to answer")
        with running(environment, repository) as second:
            assert second.wait(START_SECONDS) == 1
            assert second.stderr is not None
            error = second.stderr.read()
    assert error.strip() == f"cannot listen on 127.0.0.1:{environment['CORE_PORT']}: Address already in use"


def test_settings_that_are_missing_are_said(environment: dict[str, str], repository: Path) -> None:
    """One line each, and no traceback."""
    del environment["ADMIN_TOKEN"]
    environment["KEY_PEPPER"] = "short"
    with running(environment, repository) as process:
        assert process.wait(START_SECONDS) == 1
        assert process.stderr is not None
        lines = process.stderr.read().splitlines()
    assert lines == ["ADMIN_TOKEN is not set", "KEY_PEPPER: Expected `str` of length >= 32"]
