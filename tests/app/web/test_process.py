"""`python -m app.main` as a process: how it starts, serves, and ends."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import asyncpg
import httpx
import pytest

from app.embedded.ports import Listener, require_free
from app.embedded.valkey import EmbeddedValkey
from app.main import ListenerEnded, serve
from tests.app.core import SECRETS
from tests.conftest import DatabaseUrls
from tests.ports import free_ports
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
        assert (ready.status_code, ready.json()["status"]) == (200, "ready")
        figures = httpx.get(f"http://127.0.0.1:{environment['CORE_PORT']}/metrics").text
        assert 'quotastack_core_requests_total{method="GET",route="/readyz",status="2xx"}' in figures
        internal = f"http://127.0.0.1:{environment['CORE_INTERNAL_PORT']}/internal/keys/load"
        assert httpx.post(internal, json={}).json()["code"] == "unauthenticated"
        process.send_signal(number)
        assert process.wait(STOP_SECONDS) == 0
        assert process.stdout is not None
        assert process.stdout.read() == ""
    require_free(Listener(name, "127.0.0.1", int(environment[f"{name}_PORT"])) for name in ("CORE", "CORE_INTERNAL"))


def test_what_is_under_way_is_answered(environment: dict[str, str], urls: DatabaseUrls, repository: Path) -> None:
    """A request that was taken in before the signal gets its answer after it."""
    url = f"http://127.0.0.1:{environment['CORE_PORT']}"
    operator = {"authorization": f"Bearer {SECRETS['admin_token']}"}
    with running(environment, repository) as process, ThreadPoolExecutor() as threads:
        wait_until(lambda: answers(environment, process), START_SECONDS, "core to answer")
        made = httpx.post(f"{url}/v1/tenants", json={"name": "x"}, headers=operator).json()
        key = {"authorization": f"Bearer {made['sandbox_key']}"}
        with locked_plans(urls) as is_waited_for:
            slow = threads.submit(httpx.post, f"{url}/v1/plans", json={"key": "p", "name": "P"}, headers=key)
            wait_until(is_waited_for, 5, "the request to wait for the lock")
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: refuses(url), 5, "the listener to close")
        assert slow.result().status_code == 201
        assert process.wait(STOP_SECONDS) == 0


def refuses(url: str) -> bool:
    """Whether nobody takes connections there."""
    try:
        httpx.get(f"{url}/livez")
    except httpx.TransportError:
        return True
    return False


@contextmanager
def locked_plans(urls: DatabaseUrls) -> Iterator[Callable[[], bool]]:
    """Keep everybody from writing plans; answers whether somebody waits for that."""
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(urls.owner))
        lock = connection.transaction()
        runner.run(lock.start())
        runner.run(connection.execute("LOCK TABLE plans"))
        waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
        yield lambda: runner.run(connection.fetchval(waiting))
        runner.run(lock.rollback())
        runner.run(connection.close())


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


class StandInServer:
    """A listener that serves until it is stopped, or fails at once."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.stopped = asyncio.Event()

    async def serve(self) -> None:
        """What Granian's server does."""
        if self.failure is not None:
            raise self.failure
        await self.stopped.wait()

    def stop(self) -> None:
        """What Granian's server does."""
        self.stopped.set()


async def test_the_listeners_end_together() -> None:
    """Where one ends by itself, the other is stopped and the process fails, so that its supervisor starts it anew."""
    good, bad = StandInServer(), StandInServer(OSError("gone"))
    with pytest.raises(ListenerEnded, match="gone"):
        await serve(asyncio.Event(), cast("list[Any]", [good, bad]))
    assert good.stopped.is_set()
    stop = asyncio.Event()
    stop.set()
    await serve(stop, cast("list[Any]", [StandInServer(), StandInServer()]))
