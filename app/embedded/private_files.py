"""Files that only their owner may read, never seen half written."""

import os
import tempfile
from pathlib import Path
from typing import TypeVar

import msgspec

from app.embedded.errors import EmbeddedError

Content = TypeVar("Content", bound=msgspec.Struct)


def write_private(path: Path, content: msgspec.Struct) -> None:
    """Write `content` as JSON, mode 0600: a reader finds the file as it was or as it is now."""
    descriptor, unfinished = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # made with mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        Path(unfinished).replace(path)
    except BaseException:
        Path(unfinished).unlink()
        raise


def read_private(path: Path, kind: type[Content]) -> Content | None:
    """Read what `write_private` wrote; None without a file. Raises EmbeddedError when it holds something else."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise EmbeddedError(f"{path} cannot be read ({error}). Remove it to begin anew.") from error
