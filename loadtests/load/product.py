"""A whole product of the run's own: `quotastack run` on a directory that is thrown away."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from app.doctor.showing import CheckDocument, DoctorDocument
from app.embedded.dev_file import DevStack, read_dev_stack
from app.embedded.logs import tail
from app.embedded.role import RoleProcess
from loadtests.load.client import until
from loadtests.servers import ServerFailed, free_port

READY_SECONDS = 120
STOP_SECONDS = 60
KILL_SECONDS = 30
"""Until a process that was killed runs again."""
VERIFY_SECONDS = 300
WALK_SECONDS = 600
PORTS = ("CORE_PORT", "CORE_INTERNAL_PORT", "EDGE_PORT")


class Product:
    """What runs, and the ways to harm and to prove it."""

    def __init__(self, directory: Path, supervisor: RoleProcess, environment: Mapping[str, str]) -> None:
        self._directory = directory
        self._supervisor = supervisor
        self._environment = environment
        self._killed: set[int] = set()

    @property
    def described(self) -> DevStack:
        """Addresses, keys and processes as of now. Raises ServerFailed."""
        described = read_dev_stack(self._directory)
        if described is None or self._supervisor.has_ended():
            raise ServerFailed(f"the product is not running:\n{tail(self._supervisor.log_path)}")
        return described

    async def kill(self, name: str) -> None:
        """Kill -9 of a role, as soon as it runs: a child of the supervisor, and no one else. Raises NoAnswer."""

        async def look() -> int | None:
            pid = self.described.pids[name]
            is_ours = pid is not None and pid not in self._killed and await self._is_child(pid)
            return pid if is_ours else None

        pid = await until(look, f"{name} to run", KILL_SECONDS)
        self._killed.add(pid)
        os.kill(pid, signal.SIGKILL)

    async def verify(self) -> str | None:
        """What `quotastack ledger verify` says is wrong; None where nothing is."""
        status, output = await self._ask("ledger", "verify")
        return output.decode(errors="replace") if status else None

    async def look_at_drift(self) -> CheckDocument:
        """What `quotastack doctor` says of drift, once jobs has been through all accounts. Raises NoAnswer."""

        async def look() -> CheckDocument | None:
            _, output = await self._ask("doctor", "--json")
            checks = msgspec.json.decode(output, type=DoctorDocument).checks
            [drift] = (each for each in checks if each.check == "drift")
            return None if drift.status == "warning" else drift

        return await until(look, "jobs to look at every account", WALK_SECONDS)

    async def _ask(self, *arguments: str) -> tuple[int | None, bytes]:
        """Exit status and output of a command of the operator's."""
        command = (sys.executable, "-m", "app.cli", *arguments)
        process = await asyncio.create_subprocess_exec(
            *command, env=self._environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), VERIFY_SECONDS)
        finally:
            if process.returncode is None:
                process.kill()
        return process.returncode, output

    async def _is_child(self, pid: int) -> bool:
        """Whether a process is the supervisor's and lives: a number may belong to somebody else by now."""
        process = await asyncio.create_subprocess_exec(
            "ps", "-o", "ppid=,stat=", "-p", str(pid), stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        match output.decode().split():
            case [parent, state]:
                return int(parent) == self._supervisor.pid and not state.startswith("Z")
            case _:
                return False


@asynccontextmanager
async def running_product(directory: Path, **settings: str) -> AsyncIterator[Product]:
    """The product with servers of its own, ready, whatever DATABASE_URL and REDIS_URL say; gone afterwards.

    `settings` are environment variables. Raises ServerFailed.
    """
    variables = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    variables |= {"VAR_DIR": str(directory), "LOG_LEVEL": "warning"}
    variables |= {name: str(free_port()) for name in PORTS} | settings
    command = (sys.executable, "-m", "app.cli", "run")
    supervisor = RoleProcess(command, variables, directory / "supervisor.log")
    supervisor.start()
    try:
        await _wait_until_ready(directory, supervisor)
        yield Product(directory, supervisor, variables)
    finally:
        supervisor.ask_to_stop()
        supervisor.finish_stop(time.monotonic() + STOP_SECONDS)


async def _wait_until_ready(directory: Path, supervisor: RoleProcess) -> None:
    async def look() -> bool:
        if supervisor.has_ended():
            raise ServerFailed(f"the product did not start:\n{tail(supervisor.log_path)}")
        return read_dev_stack(directory) is not None

    await until(look, "the product to be ready", READY_SECONDS)
