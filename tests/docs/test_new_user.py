"""A newcomer's way, from a clone to a charge: two commands, and one paste from the README."""

import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.docs.blocks import Block, parse
from tests.docs.outputs import complaints
from tests.floors.source import ROOT
from tests.ports import free_ports
from tests.programs import program
from tests.waiting import wait_until

START_SECONDS = 180
STOP_SECONDS = 30
OF_OURS = {
    *("VIRTUAL_ENV", "PYTHONPATH", "VAR_DIR", "DATABASE_URL", "REDIS_URL"),
    *("MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "MAKELEVEL", "VENV", "ARGS", "WORKERS"),
}
"""What this run of the tests has around it, and a newcomer has not."""


def first_steps(clone: Path) -> tuple[Block, Block]:
    """The command and the paste of the README's first section of commands: there is one of each."""
    text = (clone / "README.md").read_text().partition("\n## Try it\n")[2].partition("\n## ")[0]
    command, paste = parse("README.md", text)
    return command, paste


@contextmanager
def typed(command: str, clone: Path, environment: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """A command in a terminal of its own, ended by Ctrl-C."""
    with (clone.parent / "terminal").open("wb") as terminal:
        process = subprocess.Popen(
            [program("sh"), "-c", command],
            cwd=clone,
            env=environment,
            stdout=terminal,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        process.wait(STOP_SECONDS)


def credits_of(dev: dict[str, Any]) -> Any:
    """The customer's credits."""
    url = f"{dev['core_url']}/v1/customers/user_123/credits"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {dev['sandbox_key']}"})  # noqa: S310 - ours
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - ours
        return json.load(answer)


@pytest.mark.timeout(START_SECONDS + 60)
def test_from_a_clone_to_a_charge(tmp_path: Path) -> None:
    """What is committed is enough: `git clone`, `make run`, and a paste that answers what the README says."""
    clone = tmp_path / "quotastack"
    subprocess.run([program("git"), "clone", "--quiet", ROOT, clone], check=True)
    command, paste = first_steps(clone)
    ports = dict(zip(("CORE_PORT", "EDGE_PORT", "CORE_INTERNAL_PORT"), map(str, free_ports(3)), strict=True))
    environment = {name: value for name, value in os.environ.items() if name not in OF_OURS} | ports
    with typed(command.text, clone, environment) as running:

        def is_up() -> bool:
            assert running.poll() is None, (tmp_path / "terminal").read_text()
            return (clone / "var" / "dev.json").is_file()

        wait_until(is_up, START_SECONDS, "make run to say that it is ready")
        pasted = subprocess.run(
            [program("sh"), "-euc", paste.text], cwd=clone, env=environment, capture_output=True, text=True, check=True
        )
        assert not complaints(paste, pasted.stdout), pasted.stderr
        dev = json.loads((clone / "var" / "dev.json").read_text())
        wait_until(lambda: credits_of(dev)["total"] == 49_999, 10, "the charge to be in the ledger")
    assert not (clone / "var" / "dev.json").exists()
