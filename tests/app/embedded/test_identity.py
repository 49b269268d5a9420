"""Who runs Postgres: an ordinary user as themselves, root as somebody else, past directories closed to others."""

import json
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.embedded.postgres import start_postgres
from tests.app.embedded.probes import is_alive, query
from tests.waiting import wait_until

ROOT = Path(__file__).parents[3]
SERVERS = (sys.executable, "-m", "tests.app.embedded.start_servers")
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def owner_of_process(pid: int) -> str:
    """The user that a process runs as."""
    return pwd.getpwuid(Path(f"/proc/{pid}").stat().st_uid).pw_name


@AS_ROOT
def test_root_lends_postgres_a_user_and_opens_nothing(tmp_path: Path) -> None:
    """The data belong to that user; the closed directories above stay closed, and still the server works."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with start_postgres(closed / "data") as server:
        assert owner_of_process(server.pid) in {"postgres", "nobody"}
        assert server.directory.owner() == owner_of_process(server.pid)
        assert closed.owner() == "root"
        assert closed.stat().st_mode & 0o777 == 0o700
        assert server.directory.stat().st_mode & 0o777 == 0o700


@AS_ROOT
def test_a_copy_that_belongs_to_root_is_taken_over(tmp_path: Path) -> None:
    """Data that were copied by root have the wrong owner, which Postgres refuses."""
    with start_postgres(tmp_path / "first") as server:
        flavour = server.directory.name
    shutil.copytree(tmp_path / "first" / flavour, tmp_path / "second" / flavour)
    with start_postgres(tmp_path / "second") as server:
        assert query(server.url_owner, "SELECT 1")


@AS_ROOT
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv takes capabilities away")
def test_a_root_that_may_not_is_told_before_anything_is_done(tmp_path: Path) -> None:
    """Without CAP_KILL, for one, the server would start and could never be stopped again."""
    done = subprocess.run(
        ["setpriv", "--bounding-set", "-kill", *SERVERS, str(tmp_path)],  # noqa: S607 - wherever it is
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "this root lacks CAP_KILL. Run as an ordinary user, or set DATABASE_URL." in done.stderr
    assert not any(tmp_path.iterdir())


@pytest.fixture
def home_of_nobody() -> Iterator[Path]:
    """A private directory of the user nobody, where nobody can reach it."""
    nobody = pwd.getpwnam("nobody")
    home = Path(tempfile.mkdtemp(prefix="quotastack-nobody-"))
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    yield home
    shutil.rmtree(home)


def interpreter_of_nobody(environment: dict[str, str]) -> str:
    """A Python that nobody may run and that finds the product; the test is skipped where there is none."""
    for executable in (sys.executable, "/usr/bin/python3"):
        command = [executable, "-c", FINDS_SERVERS]
        try:
            tried = subprocess.run(command, cwd=ROOT, env=environment, user="nobody", capture_output=True, check=False)
        except PermissionError:
            continue
        if tried.returncode == 0:
            return executable
    pytest.skip("no Python that the user nobody can run finds the product and the servers")


FINDS_SERVERS = """
from app.embedded import postgres, valkey
from app.embedded.binaries import POSTGRES, VALKEY, find_binary
open(find_binary(POSTGRES).path).close(), open(find_binary(VALKEY).path).close()
"""


@AS_ROOT
def test_an_ordinary_user_needs_nothing(home_of_nobody: Path) -> None:
    """No root, no other user, no capability."""
    path = f"{ROOT}:{sysconfig.get_path('purelib')}"
    environment = {"HOME": str(home_of_nobody), "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    program = (interpreter_of_nobody(environment), "-m", "tests.app.embedded.start_servers")
    process = subprocess.Popen(
        [*program, str(home_of_nobody / "data")],
        cwd=ROOT,
        env=environment,
        user="nobody",
        group=home_of_nobody.stat().st_gid,
        extra_groups=[],
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        started = json.loads(process.stdout.readline())
        assert {owner_of_process(started[name]) for name in ("postgres", "valkey")} == {"nobody"}
        assert query(started["url_owner"], "SELECT 1")
    finally:
        process.kill()
        process.communicate()
    for name in ("postgres", "valkey"):
        wait_until(lambda pid=started[name]: not is_alive(pid), 30, f"{name} ends with its parent")
