"""Where a server's Unix socket goes: beside its data, or in a short directory when that path is too long."""

import hashlib
import os
import re
import stat
from pathlib import Path
from typing import Final

from app.embedded.errors import EmbeddedError

# sun_path holds 104 bytes on macOS and 108 on Linux, closing zero included.
_LONGEST_PATH_BYTES: Final = 103
# Fixed, not TMPDIR: every process must work out the same place.
_SHORT_PARENT: Final = Path("/tmp")  # noqa: S108 - the directory made in it is private and its owner is checked
# Characters that mean the same in a path, in an address and in a server's settings.
_PLAIN_PATH: Final = re.compile(r"[A-Za-z0-9/._-]+")


def socket_directory(directory: Path, socket_name: str) -> Path:
    """Answer the directory for a socket of a server whose data are in `directory` (absolute, private)."""
    socket = str(directory / socket_name)
    if _PLAIN_PATH.fullmatch(socket) and len(socket) <= _LONGEST_PATH_BYTES:
        return directory
    digest = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    return _SHORT_PARENT / f"quotastack-{os.getuid()}-{digest}"


def make_private(directory: Path) -> None:
    """Create the directory for us alone, or check that it is: in a place open to all somebody may have been first.

    Raises EmbeddedError.
    """
    directory.mkdir(mode=0o700, exist_ok=True)
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise EmbeddedError(
            f"{directory} must be a directory that belongs to you alone (mode 0700). Remove it and start again."
        )
