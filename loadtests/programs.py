"""The programs that measure, and those that we are measured against: found, or named with what installs them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SYSTEM_FOLDERS = ("/usr/sbin", "/usr/local/sbin")
"""Where Debian keeps nginx; not on everybody's PATH."""

_DEBIAN_PACKAGES = {
    "chromedriver": "chromium-driver",
    "chromium": "chromium",
    "curl": "curl",
    "nginx": "nginx",
    "node": "nodejs",
    "npm": "npm",
    "openssl": "openssl",
    "ps": "procps",
    "redis-benchmark": "redis-tools",
    "wrk": "wrk",
}
_HOMEBREW_PACKAGES = _DEBIAN_PACKAGES | {"chromedriver": "chromedriver", "node": "node", "redis-benchmark": "redis"}


class MissingPrograms(Exception):
    """Programs that are not installed; says how to install them."""


class ProgramFailed(Exception):
    """A program ended with an error; says what it wrote."""


def find(name: str) -> str:
    """The path of a program. Raises MissingPrograms."""
    path = _which(name)
    if path is None:
        raise MissingPrograms(how_to_install([name]))
    return path


def require(names: Iterable[str]) -> None:
    """Raises MissingPrograms that names all that are missing."""
    missing = sorted({name for name in names if _which(name) is None})
    if missing:
        raise MissingPrograms(how_to_install(missing))


def how_to_install(missing: Sequence[str], platform: str = sys.platform) -> str:
    """What is missing, and the command that installs it."""
    names = ", ".join(missing)
    if platform == "darwin":
        return f"Not installed: {names}. Install with: brew install {_packages(missing, _HOMEBREW_PACKAGES)}"
    return f"Not installed: {names}. Install with: sudo apt-get install {_packages(missing, _DEBIAN_PACKAGES)}"


def _packages(missing: Iterable[str], names: Mapping[str, str]) -> str:
    return " ".join(sorted({names[program] for program in missing}))


def _which(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS]))


def output_of(command: Sequence[str | bytes | Path], timeout_seconds: float) -> str:
    """Run a program to its end; what it wrote to standard output. Raises ProgramFailed."""
    done = run(command, timeout_seconds)
    if done.returncode:
        written = (done.stdout + done.stderr).decode(errors="replace").strip()
        raise ProgramFailed(f"{_name(command)} ended with {done.returncode}:\n{written}")
    return done.stdout.decode(errors="replace")


def run(command: Sequence[str | bytes | Path], timeout_seconds: float) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end, whatever that is. Raises ProgramFailed where it takes too long."""
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, timeout=timeout_seconds, check=False)  # noqa: S603 - named here or ours
    except subprocess.TimeoutExpired as error:
        raise ProgramFailed(f"{_name(command)} was not done after {timeout_seconds:.0f} seconds") from error


def _name(command: Sequence[str | bytes | Path]) -> str:
    return Path(os.fsdecode(command[0])).name
