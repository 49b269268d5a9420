"""`quotastack run`: everything on one machine, up in order, kept up, down in order."""

import asyncio
import stat
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from app.embedded.demo import FEATURE_KEY, ensure_demo
from app.embedded.dev_file import DevStack, remove_dev_stack, write_dev_stack
from app.embedded.environment import StackEnvironment, read_environment
from app.embedded.errors import EmbeddedError
from app.embedded.first_steps import first_steps
from app.embedded.locking import FileLock
from app.embedded.logs import tail
from app.embedded.ports import require_free
from app.embedded.postgres import postgres_in
from app.embedded.role import STOP_SECONDS, RoleProcess
from app.embedded.roles import MIGRATE_COMMAND, ROLE_COMMANDS, Stores, child_environments
from app.embedded.secret_file import Demo, load_demo, load_secrets, save_demo
from app.embedded.server import EmbeddedServer
from app.embedded.signals import StopSignal
from app.embedded.supervisor import Supervisor
from app.embedded.terminal import Terminal
from app.embedded.valkey import valkey_in
from app.io.outbound import NO_ANSWER, open_session, send

_MIGRATE_SECONDS: Final = 300
_READY_SECONDS: Final = 60
_READY_REQUEST_SECONDS: Final = 2
_POLL_SECONDS: Final = 0.05
_TEND_SECONDS: Final = 0.2


@dataclass(frozen=True)
class Commands:
    """What is started: the four roles by name, and the migration before them."""

    roles: Mapping[str, tuple[str, ...]]
    migrate: tuple[str, ...]


class _StopRequested(Exception):
    """No error: leaves the way up for the way down."""


def run_stack(
    environment: StackEnvironment | None = None, commands: Commands = Commands(ROLE_COMMANDS, MIGRATE_COMMAND)
) -> None:
    """Run the whole stack until SIGINT, SIGTERM or SIGHUP; call from the main thread.

    Whatever ends it, nothing that it started is left running. Raises EmbeddedError with what is wrong and the way out.
    """
    environment = environment or read_environment()
    _make_var(environment)
    with ExitStack() as cleanup:
        lock = FileLock.try_acquire(environment.var_dir / "run.lock")
        if lock is None:
            raise EmbeddedError(
                f"Another `quotastack run` uses {environment.var_dir}: stop it, or set VAR_DIR to another directory."
            )
        cleanup.callback(lock.release)
        remove_dev_stack(environment.var_dir)  # left by a run that was killed
        require_free(environment.listeners)
        stop = cleanup.enter_context(StopSignal())
        stack = _Stack(environment, commands, stop, cleanup)
        try:
            stack.keep_up(stack.bring_up())
        except _StopRequested:
            stack.say_stopping()


def _make_var(environment: StackEnvironment) -> None:
    """Make the directory private. One that was named and holds things is somebody's: its mode is not ours to change."""
    directory = environment.var_dir
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not stat.S_IMODE(directory.stat().st_mode) & 0o077:
        return
    if "VAR_DIR" in environment.inherited and any(directory.iterdir()):
        raise EmbeddedError(
            f"{directory} holds secrets and must be private: `chmod 700 {directory}`, or set VAR_DIR to another one."
        )
    directory.chmod(0o700)


class _Stack:
    """One run. Every step leaves its undoing in `cleanup`, which undoes them in reverse."""

    def __init__(self, environment: StackEnvironment, commands: Commands, stop: StopSignal, cleanup: ExitStack) -> None:
        self._environment = environment
        self._commands = commands
        self._stop = stop
        self._cleanup = cleanup
        self._terminal = Terminal()
        self._supervisor = Supervisor(self._terminal.state)
        self._secrets = load_secrets(environment.var_dir, environment.secrets)
        self._roles: dict[str, RoleProcess] = {}

    def bring_up(self) -> DevStack:
        """Start everything, in order; returns what `dev.json` says, when everything answers."""
        stores = self._start_stores()
        environments = child_environments(self._environment, self._secrets, stores)
        self._migrate(environments["migrate"])
        self._start_roles(environments)
        self._wait_until_ready()
        var_dir = self._environment.var_dir
        demo = asyncio.run(
            ensure_demo(
                self._environment.core.url,
                self._secrets["ADMIN_TOKEN"],
                load_demo(var_dir),
                partial(save_demo, var_dir),
            )
        )
        described = self._describe(stores, demo)
        self._cleanup.callback(remove_dev_stack, var_dir)
        write_dev_stack(var_dir, described)
        self._announce(described)
        return described

    def keep_up(self, described: DevStack) -> NoReturn:
        """Look after all of it until told to stop."""
        while True:
            self._pause(_TEND_SECONDS)
            if self._supervisor.tend(time.monotonic()):
                described = msgspec.structs.replace(described, pids=self._pids())
                write_dev_stack(self._environment.var_dir, described)

    def say_stopping(self) -> None:
        """Tell that the way down begins."""
        self._terminal.heading("Stopping.")

    def _start_stores(self) -> Stores:
        data_dir = self._environment.var_dir / "data"
        database_url, redis_url = self._environment.database_url, self._environment.redis_url
        if database_url is None:
            postgres = postgres_in(data_dir)
            self._start_server("postgres", postgres)
            database_url = postgres.url_owner
        if redis_url is None:
            valkey = valkey_in(data_dir, self._environment.durability)
            self._start_server("redis", valkey)
            redis_url = valkey.url
        return Stores(database_url, redis_url)

    def _start_server(self, name: str, server: EmbeddedServer) -> None:
        self._cleanup.callback(server.stop)
        self._supervisor.start(name, server, time.monotonic())

    def _migrate(self, environment: Mapping[str, str]) -> None:
        migration = RoleProcess(self._commands.migrate, environment, self._log_path("migrate"))
        self._cleanup.callback(migration.finish_stop, 0)
        migration.start()
        deadline = time.monotonic() + _MIGRATE_SECONDS
        while not migration.has_ended():
            self._pause(_POLL_SECONDS)
            if time.monotonic() > deadline:
                break
        if migration.status != 0:
            raise EmbeddedError(f"The migration failed; the end of {migration.log_path}:\n{tail(migration.log_path)}")

    def _start_roles(self, environments: Mapping[str, Mapping[str, str]]) -> None:
        self._cleanup.callback(self._stop_roles)
        for name, command in self._commands.roles.items():
            self._roles[name] = RoleProcess(command, environments[name], self._log_path(name))
            self._supervisor.start(name, self._roles[name], time.monotonic())

    def _stop_roles(self) -> None:
        deadline = time.monotonic() + STOP_SECONDS
        for role in self._roles.values():
            role.ask_to_stop()
        for role in self._roles.values():
            role.finish_stop(deadline)

    def _wait_until_ready(self) -> None:
        waiting = {"core": f"{self._environment.core.url}/readyz", "edge": f"{self._environment.edge.url}/livez"}
        deadline = time.monotonic() + _READY_SECONDS
        while waiting:
            self._pause(_POLL_SECONDS)
            if ended := self._supervisor.ended():
                log = self._log_path(ended[0])
                raise EmbeddedError(f"{ended[0]} ended while starting; the end of {log}:\n{tail(log)}")
            if time.monotonic() > deadline:
                name, url = next(iter(waiting.items()))
                raise EmbeddedError(
                    f"{name} did not answer {url} within {_READY_SECONDS} seconds; see {self._log_path(name)}."
                )
            for name in [name for name, url in waiting.items() if asyncio.run(_answers(url))]:
                del waiting[name]

    def _describe(self, stores: Stores, demo: Demo) -> DevStack:
        return DevStack(
            core_url=self._environment.core.url,
            edge_url=self._environment.edge.url,
            admin_token=self._secrets["ADMIN_TOKEN"],
            tenant_id=demo.tenant_id,
            sandbox_key=demo.sandbox_key,
            live_key=demo.live_key,
            plan_variant_id=demo.plan_variant_id or "",
            feature_key=FEATURE_KEY,
            database_url=stores.database_url,
            redis_url=stores.redis_url,
            pids=self._pids(),
        )

    def _pids(self) -> dict[str, int | None]:
        return {**dict.fromkeys((*ROLE_COMMANDS, "postgres", "redis")), **self._supervisor.pids}

    def _announce(self, described: DevStack) -> None:
        self._terminal.heading("QuotaStack is running.")
        self._terminal.state("core", described.core_url)
        self._terminal.state("edge", described.edge_url)
        self._terminal.state("key", f"{described.sandbox_key} (sandbox)")
        self._terminal.state("logs", str(self._environment.var_dir / "log"))
        self._terminal.heading("Subscribe, check, use:")
        for command in first_steps(described):
            self._terminal.line(command)
        self._terminal.heading("Ctrl-C stops everything; the data stay.")

    def _log_path(self, name: str) -> Path:
        return self._environment.var_dir / "log" / f"{name}.log"

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise _StopRequested


async def _answers(url: str) -> bool:
    """Ask whether `url` answers 200 at this moment."""
    async with open_session(total_seconds=_READY_REQUEST_SECONDS) as session:
        try:
            answer = await send(session, "GET", url)
        except NO_ANSWER:
            return False
        return answer.status == HTTPStatus.OK
