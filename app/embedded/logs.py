"""Log files of child processes: appended to, bounded, and quoted when a child does not come up."""

from pathlib import Path
from typing import IO, Final

_KEEP_BYTES: Final = 10 * 1024 * 1024
_TAIL_BYTES: Final = 4096


def open_log(path: Path) -> IO[bytes]:
    """Open a log for appending. One longer than 10 MiB is put aside first, in place of the one put aside before."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > _KEEP_BYTES:
        path.replace(path.with_name(f"{path.name}.1"))
    return path.open("ab")


def tail(path: Path, lines: int = 8) -> str:
    """Answer the last lines of a log, empty when there is none."""
    if not path.exists():
        return ""
    with path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        text = log.read().decode(errors="replace")
    return "\n".join(text.splitlines()[-lines:])
