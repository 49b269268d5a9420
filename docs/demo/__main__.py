"""`make demo`: QuotaStack and the app, with data of their own, until Ctrl-C. Nothing that this starts outlives it."""

import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from typing import Final, TypeVar
from urllib.error import URLError
from urllib.request import urlopen

from app.embedded.dev_file import DevStack, read_dev_stack, remove_dev_stack
from app.embedded.environment import Listener
from app.embedded.errors import EmbeddedError
from app.embedded.locking import FileLock
from app.embedded.logs import tail
from app.embedded.ports import require_free
from app.embedded.role import RoleProcess
from app.embedded.signals import StopSignal
from app.embedded.supervisor import Supervisor
from app.embedded.terminal import Terminal

ROOT: Final = Path(__file__).parents[2]
MODULES: Final = os.pathsep.join((str(ROOT), str(ROOT / "sdks/python/src")))
STACK_COMMAND: Final = (sys.executable, "-m", "app.cli", "run")
APP_COMMAND: Final = (sys.executable, "-m", "docs.demo.server")
OUR_OWN: Final = ("PATH", "HOME", "LANG", "TMPDIR")
"""Passed on, and no other variable is: a DATABASE_URL that is set for another stack is not for a demo."""
PORTS: Final = {"CORE_PORT": "8100", "EDGE_PORT": "8101", "CORE_INTERNAL_PORT": "8102"}
"""Of the stack, beside those of `make run`; the variables move them."""
APP: Final = {
    "DEMO_HOST": "127.0.0.1",
    "DEMO_PORT": "8080",
    "DEMO_FAIL_MODE": "open",
    "DEMO_TOKENS_PER_SECOND": "30",
}
MAX_PORT: Final = 65_535
START_SECONDS: Final = 120
STOP_SECONDS: Final = 60
TEND_SECONDS: Final = 0.1

Found = TypeVar("Found")


class StopRequested(Exception):
    """No error: somebody wants the demo to end."""


class Demo:
    """The two of them, kept up by the supervisor of `quotastack run`."""

    def __init__(self, directory: Path, environ: Mapping[str, str], stop: StopSignal, cleanup: ExitStack) -> None:
        self._directory = directory
        self._stop = stop
        self._cleanup = cleanup
        self._terminal = Terminal()
        self._supervisor = Supervisor(self._terminal.state)
        self._own = {name: environ[name] for name in OUR_OWN if name in environ} | {"PYTHONPATH": MODULES}
        self._ports = {name: environ.get(name) or port for name, port in PORTS.items()}
        self._app = {name: environ.get(name) or value for name, value in APP.items()}

    def run(self) -> None:
        """Start both, say where, and look after them. Raises StopRequested, and EmbeddedError where one fails."""
        listener = Listener("DEMO", self._app["DEMO_HOST"], port_of(self._app["DEMO_PORT"]))
        require_free([listener])
        self._start("stack", STACK_COMMAND, {**self._ports, "VAR_DIR": str(self._directory)})
        stack = self._wait("stack", lambda: read_dev_stack(self._directory))
        self._start("app", APP_COMMAND, {**self._app, **addresses(stack), "DEMO_SPOOL": str(self._directory / "spool")})
        self._wait("app", lambda: answers(listener.url))
        self._terminal.heading(f"The demo is at {listener.url}")
        self._terminal.line("Ctrl-C stops everything; the data stay.")
        while True:
            self._pause()
            self._supervisor.tend(time.monotonic())

    def _start(self, name: str, command: tuple[str, ...], variables: Mapping[str, str]) -> None:
        process = RoleProcess(command, {**self._own, **variables}, self._log(name))
        self._cleanup.callback(lambda: stop_process(process))
        self._supervisor.start(name, process, time.monotonic())

    def _wait(self, name: str, find: Callable[[], Found | None]) -> Found:
        deadline = time.monotonic() + START_SECONDS
        while not (found := find()):
            self._pause()
            if name in self._supervisor.ended() or time.monotonic() > deadline:
                raise EmbeddedError(f"The {name} did not start; the end of its log:\n{tail(self._log(name))}")
        return found

    def _log(self, name: str) -> Path:
        return self._directory / "log" / f"demo-{name}.log"

    def _pause(self) -> None:
        if self._stop.wait(TEND_SECONDS):
            raise StopRequested


def port_of(text: str) -> int:
    """Where the page is to be. Raises EmbeddedError."""
    if not text.isdecimal() or not 0 < int(text) <= MAX_PORT:
        raise EmbeddedError(f"DEMO_PORT must be a number from 1 to {MAX_PORT}; it is {text!r}.")
    return int(text)


def addresses(stack: DevStack) -> dict[str, str]:
    """What the app's client needs to find the stack."""
    return {
        "QUOTASTACK_KEY": stack.sandbox_key,
        "QUOTASTACK_URL": stack.core_url,
        "QUOTASTACK_EDGE_URL": stack.edge_url,
    }


def answers(url: str) -> bool:
    """Whether the app serves by now."""
    try:
        with urlopen(url, timeout=1) as answer:  # noqa: S310 - our own address
            return answer.status == HTTPStatus.OK
    except (URLError, TimeoutError):
        return False


def stop_process(process: RoleProcess) -> None:
    """End it in order: the app settles what it owes, the stack stops what it started."""
    process.ask_to_stop()
    process.finish_stop(time.monotonic() + STOP_SECONDS)


def main(environ: Mapping[str, str] = os.environ) -> None:
    """Run the demo in DEMO_DIR until SIGINT, SIGTERM or SIGHUP."""
    directory = Path(environ.get("DEMO_DIR") or ".demo").absolute()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as cleanup:
        lock = FileLock.try_acquire(directory / "demo.lock")
        if lock is None:
            raise EmbeddedError(f"Another demo uses {directory}: stop it, or set DEMO_DIR to another directory.")
        cleanup.callback(lock.release)
        remove_dev_stack(directory)  # left by a demo that was killed
        stop = cleanup.enter_context(StopSignal())
        try:
            Demo(directory, environ, stop, cleanup).run()
        except StopRequested:
            Terminal().heading("Stopping.")


if __name__ == "__main__":
    try:
        main()
    except (EmbeddedError, OSError) as error:
        sys.exit(f"demo: {error}")
