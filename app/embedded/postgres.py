"""Embedded Postgres: a cluster made once, a server on its Unix socket."""

import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from signal import SIGINT, SIGKILL
from typing import ClassVar, Final

from app.embedded.binaries import POSTGRES, find_binary
from app.embedded.child import before_exec
from app.embedded.errors import EmbeddedError
from app.embedded.identity import give_directory, unprivileged_identity
from app.embedded.server import SERVER_ENVIRONMENT, EmbeddedServer

DATABASE: Final = "quotastack"
OWNER: Final = "quotastack"
SUPERUSER: Final = "postgres"

_INITDB_SECONDS: Final = 120
# Whoever can open the socket is let in: the directory it lies in is private.
_INITDB_OPTIONS: Final = (
    f"--username={SUPERUSER}",
    "--encoding=UTF8",
    "--locale=C",
    "--data-checksums",
    "--auth-local=trust",
    "--auth-host=scram-sha-256",
)
_FIRST_STATEMENTS: Final = f"CREATE ROLE {OWNER} LOGIN CREATEROLE;\nCREATE DATABASE {DATABASE} OWNER {OWNER};\n"
# After a crash Postgres syncs a thousand small files one by one, which takes seconds on a busy disk, or all at once.
_QUICK_RECOVERY: Final = {"recovery_init_sync_method": "syncfs"} if sys.platform == "linux" else {}
# What the server writes into line 8 of postmaster.pid once it takes connections; line 1 is its process.
_READY: Final = "ready"
_PID_LINE: Final = 0
_STATUS_LINE: Final = 7
# The one request that is answered before anybody logs in: the wire protocol's SSLRequest, on a Unix socket with "N".
_ENCRYPTION_REQUEST: Final = struct.pack("!ii", 8, 80877103)
_NO_ENCRYPTION: Final = b"N"
_ANSWER_SECONDS: Final = 1


class EmbeddedPostgres(EmbeddedServer):
    """A Postgres cluster with the database `quotastack`, owned by the role `quotastack` (LOGIN CREATEROLE)."""

    title: ClassVar = "Postgres"
    socket_name: ClassVar = ".s.PGSQL.5432"
    end_signal: ClassVar = SIGINT  # the fast shutdown: clients are cut off, a checkpoint is written
    stop_seconds: ClassVar = 30

    def url(self, user: str, database: str = DATABASE) -> str:
        """Answer the address for a role: `postgresql://user@/database?host=<socket directory>`."""
        return f"postgresql://{user}@/{database}?host={self.socket_directory}"

    @property
    def url_owner(self) -> str:
        """The address for the owner of the database, who migrates."""
        return self.url(OWNER)

    @property
    def url_superuser(self) -> str:
        """The address for the cluster's superuser, in the same database."""
        return self.url(SUPERUSER)

    def prepare(self) -> None:
        """Make the cluster if there is none, and clear what a killed server left lying."""
        if not self.directory.exists():
            self._make_cluster()
        give_directory(self.directory, self.identity)
        # Nothing runs here, and still Postgres would believe these files where their process is a zombie, or where its
        # number belongs to somebody else by now.
        (self.directory / "postmaster.pid").unlink(missing_ok=True)
        for name in (self.socket_name, f"{self.socket_name}.lock"):
            (self.socket_directory / name).unlink(missing_ok=True)

    def command(self) -> list[str]:
        """Answer the server's command line; settings on it hold for clusters of any age."""
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket_directory),
            "unix_socket_permissions": "0700",
            "jit": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "shared_preload_libraries": "pg_stat_statements",
            **_QUICK_RECOVERY,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self.binary.path), "-D", str(self.directory), *options]

    def ready_pid(self) -> int | None:
        """Read the server's own note of its state, and see whether it still answers: the note outlives a kill."""
        try:
            lines = (self.directory / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return None
        if len(lines) <= _STATUS_LINE or lines[_STATUS_LINE].strip() != _READY:
            return None
        return int(lines[_PID_LINE]) if self._answers() else None

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_ANSWER_SECONDS)
            try:
                connection.connect(str(self.socket_directory / self.socket_name))
                connection.sendall(_ENCRYPTION_REQUEST)
                return connection.recv(1) == _NO_ENCRYPTION
            except OSError:  # nobody is there any more
                return False

    def _make_cluster(self) -> None:
        """Make the cluster beside its place and move it there when it is whole, so that none is ever half made."""
        for leftover in self.directory.parent.glob(f"{self.directory.name}.making-*"):
            shutil.rmtree(leftover, ignore_errors=True)  # its maker may just be dying; the next start tries again
        making = Path(tempfile.mkdtemp(prefix=f"{self.directory.name}.making-", dir=self.directory.parent))
        try:
            give_directory(making, self.identity)
            self._run(["initdb", "-D", str(making), *_INITDB_OPTIONS], making)
            self._run(["postgres", "--single", "-D", str(making), SUPERUSER], making, _FIRST_STATEMENTS)
            making.rename(self.directory)
        except BaseException:
            shutil.rmtree(making, ignore_errors=True)  # the reason matters more; the next start tries again
            raise

    def _run(self, command: list[str], directory: Path, statements: str = "") -> None:
        program = self.binary.file.with_name(command[0])
        done = subprocess.run(  # noqa: S603 - an executable beside the server's
            [program, *command[1:]],
            cwd=directory,
            env=SERVER_ENVIRONMENT,
            input=statements,
            capture_output=True,
            text=True,
            timeout=_INITDB_SECONDS,
            check=False,
            start_new_session=True,
            preexec_fn=before_exec(SIGKILL, self.identity),
        )
        if done.returncode != 0 or "ERROR:" in done.stderr:  # single-user mode goes on after an error, and exits 0
            raise EmbeddedError(f"{program} failed with status {done.returncode}:\n{done.stdout}{done.stderr}")


def postgres_in(data_dir: Path) -> EmbeddedPostgres:
    """Answer the server for the cluster below `data_dir`, not started. Raises EmbeddedError when none can be had."""
    return EmbeddedPostgres(data_dir, find_binary(POSTGRES), unprivileged_identity())


def start_postgres(data_dir: Path) -> EmbeddedPostgres:
    """Start Postgres on the cluster below `data_dir` (made if there is none), or join the one that runs there.

    Returns when it takes connections; call from the main thread. It ends with `stop()` or with this process. Killed, it
    is started again by a second call, with all that it had committed. Raises EmbeddedError.
    """
    return postgres_in(data_dir).start()
