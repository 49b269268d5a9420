"""Takes away what the embedded servers hold."""

import shutil
from pathlib import Path

from app.embedded.errors import EmbeddedError
from app.embedded.locking import FileLock


def forget_data(var_dir: Path) -> None:
    """Remove the data directories. Raises EmbeddedError, and removes nothing, while a run uses them."""
    data_dir = var_dir / "data"
    if not data_dir.exists():
        return
    lock = FileLock.try_acquire(var_dir / "run.lock")
    if lock is None:
        raise EmbeddedError(f"The data in {data_dir} are in use: stop `make run` first.")
    try:
        shutil.rmtree(data_dir)
    finally:
        lock.release()
