"""What it ran on: the machine, the commit, the versions."""

import os
import platform
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from app.embedded.binaries import POSTGRES, VALKEY, find_binary
from app.embedded.errors import EmbeddedError
from loadtests.programs import MissingPrograms, find, output_of, run

TIMEOUT_SECONDS = 10
CPU_INFO = Path("/proc/cpuinfo")

_VERSION = re.compile(r"\d+(?:\.\d+)+")
_VERSION_OPTIONS = {"nginx": "-v", "wrk": "-v", "redis-benchmark": "--version"}


class Machine(msgspec.Struct, frozen=True):
    """Where, when and with what; no host's name and no path."""

    date: str
    commit: str
    dirty: bool
    """Files other than results differ from the commit."""
    cpu: str
    cores: int
    system: str
    versions: dict[str, str]
    """By program; only those that are there."""


def describe() -> Machine:
    """What runs this program, now."""
    return Machine(
        datetime.now(UTC).date().isoformat(),
        _git("rev-parse", "--short=10", "HEAD"),
        bool(_git("status", "--porcelain", "--", ".", ":!loadtests/results")),
        cpu_model(CPU_INFO.read_text() if CPU_INFO.exists() else "") or platform.processor(),
        os.cpu_count() or 0,
        f"{platform.system()} {platform.release()}",
        {"Python": platform.python_version()} | dict(_versions()),
    )


def cpu_model(cpu_info: str) -> str:
    """The first processor's name in the text of /proc/cpuinfo; empty where there is none."""
    found = re.search(r"^model name\s*:\s*(.+)$", cpu_info, re.MULTILINE)
    return found[1].strip() if found else ""


def version_in(text: str) -> str:
    """The first version number of a text; empty where there is none."""
    found = _VERSION.search(text)
    return found[0] if found else ""


def _versions() -> Iterator[tuple[str, str]]:
    for kind in (VALKEY, POSTGRES):
        with suppress(EmbeddedError):
            yield kind.title, _version_of(str(find_binary(kind).path), "--version")
    for name, option in _VERSION_OPTIONS.items():
        with suppress(MissingPrograms):
            yield name, _version_of(find(name), option)


def _version_of(program: str, option: str) -> str:
    """Whatever it ends with and wherever it writes: wrk fails after telling, nginx tells it to standard error."""
    done = run([program, option], TIMEOUT_SECONDS)
    return version_in((done.stdout + done.stderr).decode(errors="replace"))


def _git(*arguments: str) -> str:
    return output_of(["git", *arguments], TIMEOUT_SECONDS).strip()
