"""The operating-system user that Postgres runs as, where that cannot be our own: Postgres refuses root."""

import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.embedded.errors import EmbeddedError

# Users that are already there; none is ever created.
_USUAL_USERS: Final = ("postgres", "nobody")
# What it takes to become another user who reaches our directories, and to end their processes; a container may withhold
# some of it from root. Numbers from linux/capability.h.
_NEEDED_CAPABILITIES: Final = {"CHOWN": 0, "DAC_OVERRIDE": 1, "KILL": 5, "SETGID": 6, "SETUID": 7}
_WAY_OUT: Final = "Run as an ordinary user, or set DATABASE_URL."


@dataclass(frozen=True)
class Identity:
    """An existing user, by name and numbers."""

    name: str
    user_id: int
    group_id: int


def unprivileged_identity() -> Identity | None:
    """Answer whom root becomes to run Postgres; None for an ordinary user, who stays what they are."""
    if os.geteuid() != 0:
        return None
    if missing := _missing_capabilities():
        raise EmbeddedError(
            f"Postgres refuses to run as root, and to run it as another user this root lacks {', '.join(missing)}. "
            + _WAY_OUT
        )
    for name in _USUAL_USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Identity(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise EmbeddedError(
        f"Postgres refuses to run as root, and this machine has neither a user 'postgres' nor 'nobody'. {_WAY_OUT}"
    )


def _missing_capabilities() -> list[str]:
    """Name what root is not allowed here; empty where that cannot be told."""
    status = Path("/proc/self/status")
    if not status.exists():
        return []
    held = next(line for line in status.read_text().splitlines() if line.startswith("CapEff:"))
    mask = int(held.split()[1], 16)
    return [f"CAP_{name}" for name, number in _NEEDED_CAPABILITIES.items() if not mask >> number & 1]


def give_directory(directory: Path, identity: Identity | None) -> None:
    """Make `identity` the owner of the directory and all in it, unless it is already. Touches nothing outside of it."""
    if identity is None or directory.stat().st_uid == identity.user_id:
        return
    for folder, _, files in os.walk(directory):
        for path in (folder, *(os.path.join(folder, name) for name in files)):  # noqa: PTH118 - os.walk speaks strings
            os.chown(path, identity.user_id, identity.group_id, follow_symlinks=False)
