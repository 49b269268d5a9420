"""Golden files: what is kept, and how it is written anew."""

from difflib import unified_diff
from pathlib import Path

import pytest


def compare(made: str, path: Path, request: pytest.FixtureRequest) -> None:
    """Byte for byte; the difference is the message. With `--write-golden` the file is written anew."""
    if request.config.getoption("--write-golden"):
        path.write_text(made)
    kept = path.read_text()
    if made != kept:
        lines = unified_diff(
            kept.splitlines(),
            made.splitlines(),
            path.name,
            "what comes out (`pytest --write-golden` keeps it)",
            lineterm="",
        )
        pytest.fail("\n".join(lines), pytrace=False)
