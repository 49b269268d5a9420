"""A stack of stand-ins in a process of its own, on ports that were free a moment ago."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.app.embedded.probes import is_alive
from tests.ports import free_ports
from tests.waiting import wait_until

ROOT = Path(__file__).parents[3]
STOP_SECONDS = 60
# Servers that are not there: the stand-ins never ask for them, and so nothing has to be started for them.
ELSEWHERE = {"DATABASE_URL": "postgresql://owner@nowhere.invalid/db", "REDIS_URL": "redis://nowhere.invalid"}
COMMAND = (sys.executable, "-m", "tests.app.embedded.run_stand_ins")


@dataclass
class RunningStack:
    """A supervisor and what it says about itself."""

    process: "subprocess.Popen[str]"
    var_dir: Path

    @property
    def dev(self) -> dict[str, Any]:
        """What `dev.json` says now."""
        return json.loads((self.var_dir / "dev.json").read_text())

    @property
    def pids(self) -> dict[str, int]:
        """The processes of its own."""
        return {name: pid for name, pid in self.dev["pids"].items() if pid is not None}

    def kept(self, name: str) -> Any:
        """What a stand-in left in a file."""
        return json.loads((self.var_dir / f"{name}.json").read_text())

    def stop(self, number: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        """End it; its exit status and what it printed."""
        self.process.send_signal(number)
        output = self.process.communicate(timeout=STOP_SECONDS)[0]
        return self.process.returncode, output


StartStack = Callable[..., RunningStack]


def stack_environment(var_dir: Path) -> dict[str, str]:
    """The environment of a stack with everything its own."""
    names = ("CORE_PORT", "EDGE_PORT", "CORE_INTERNAL_PORT")
    ports = {name: str(port) for name, port in zip(names, free_ports(len(names)), strict=True)}
    return {"PATH": os.environ["PATH"], "VAR_DIR": str(var_dir), **ports}


def launch(environment: Mapping[str, str]) -> "subprocess.Popen[str]":
    """The supervisor, started and left to itself."""
    return subprocess.Popen(
        COMMAND, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def refused(environment: Mapping[str, str]) -> str:
    """What a supervisor says that cannot start; it ends by itself, and without a traceback."""
    done = subprocess.run(
        COMMAND, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=STOP_SECONDS, check=False
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def wait_all_gone(pids: Mapping[str, int], seconds: float = STOP_SECONDS) -> None:
    """Wait until none of the processes is alive."""
    wait_until(lambda: not any(map(is_alive, pids.values())), seconds, f"all of {pids} are gone")
