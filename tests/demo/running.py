"""The demo as `make demo` starts it, on ports and in a directory of the test's own."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.docs.blocks import blocks_of
from tests.ports import free_ports
from tests.programs import program
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "docs.demo")
START_SECONDS = 60
TOKENS_PER_SECOND = 60
STOP_SECONDS = 60


@dataclass(frozen=True)
class RunningDemo:
    """A demo that answers."""

    process: "subprocess.Popen[str]"
    directory: Path
    url: str

    @property
    def stack(self) -> dict[str, Any]:
        """What the stack says of itself: addresses, keys, processes."""
        return json.loads((self.directory / "dev.json").read_text())

    def run_from_page(self, marker: str, **replacements: str) -> None:
        """Run the command of the README that has the marker, as a reader would, with some words replaced."""
        blocks = [block for block in blocks_of("docs/demo/README.md") if marker in block.text]
        assert len(blocks) == 1
        text = blocks[0].text
        for word, other in replacements.items():
            text = text.replace(word, other)
        subprocess.run([program("sh"), "-euc", text], cwd=self.directory.parent, check=True)

    @property
    def app_pid(self) -> int:
        """The app's process, as the demo started it last."""
        return int(re.findall(r"^app +started(?: again)?, process (\d+)$", self.printed(), re.MULTILINE)[-1])

    def printed(self) -> str:
        """What it has said so far."""
        return (self.directory.parent / "printed").read_text()


def variables(directory: Path, **more: str) -> dict[str, str]:
    """An environment in which everything is the demo's own, with a store that must not be touched."""
    names = ("CORE_PORT", "EDGE_PORT", "CORE_INTERNAL_PORT", "DEMO_PORT")
    ports = {name: str(port) for name, port in zip(names, free_ports(len(names)), strict=True)}
    elsewhere = {"DATABASE_URL": "postgresql://owner@nowhere.invalid/db", "VAR_DIR": str(directory / "not-here")}
    return {**os.environ, **elsewhere, **ports, "DEMO_DIR": str(directory), **more}


def refused(environment: Mapping[str, str]) -> str:
    """What a demo says that cannot start; it ends by itself."""
    done = subprocess.run(
        COMMAND, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=START_SECONDS, check=False
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@contextmanager
def running_demo(directory: Path) -> Iterator[RunningDemo]:
    """A demo, stopped as Ctrl-C does."""
    environment = variables(directory, DEMO_TOKENS_PER_SECOND=str(TOKENS_PER_SECOND))
    printed = directory.parent / "printed"
    with printed.open("w") as output:
        process = subprocess.Popen(
            COMMAND, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT, text=True
        )
    demo = RunningDemo(process, directory, f"http://127.0.0.1:{environment['DEMO_PORT']}")
    try:
        wait_until(lambda: demo.url in demo.printed() or process.poll() is not None, START_SECONDS, "the demo's URL")
        assert process.poll() is None, demo.printed()
        yield demo
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        status = process.wait(STOP_SECONDS)
    assert status == 0, demo.printed()
