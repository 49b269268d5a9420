"""Writes src/quotastack/_sync from _async, word by word: what is awaited there is called here.

`python sdks/python/scripts/make_sync.py` writes it anew; a test compares. `waiting.py`, which says what waiting means,
is written by hand on both sides.
"""

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ASYNC = HERE.parent / "src" / "quotastack" / "_async"
SYNC = ASYNC.parent / "_sync"
BY_HAND = "waiting.py"

WORDS = (
    (r"import Opening, opened, ", "import opened, "),
    (r"Opening\[(\w+)\]", r"\1"),
    (r"\bawait ", ""),
    (r"\basync (def|with|for)\b", r"\1"),
    (r"\b_async\b", "_sync"),
    (r"\bAsync(?=QuotaStack|Reservation|Client)", ""),
    (r"__a(enter|exit)__", r"__\1__"),
    (r"\ba(close|iter_bytes)\b", r"\1"),
    (r"on an event loop", "for threads"),
    (r"task in the background", "thread in the background"),
)
"""What becomes of what."""
HEAD = "# Made from _async by scripts/make_sync.py: change it there.\n"


def make(source: str) -> str:
    """The text of a module of `_sync`, before it is formatted."""
    for pattern, replacement in WORDS:
        source = re.sub(pattern, replacement, source)
    return HEAD + source


def modules() -> dict[str, str]:
    """Every module of `_sync` that is made, formatted."""
    return {path.name: formatted(make(path.read_text())) for path in sorted(ASYNC.glob("*.py")) if path.name != BY_HAND}


def formatted(text: str) -> str:
    """In the form of the house, with its imports in order."""
    ruff = [sys.executable, "-m", "ruff"]
    for command in (["check", "--select", "I", "--fix-only", "--quiet"], ["format"]):
        arguments = [*ruff, *command, "--stdin-filename", str(SYNC / "made.py"), "-"]
        text = subprocess.run(arguments, input=text, text=True, cwd=HERE, capture_output=True, check=True).stdout  # noqa: S603
    return text


if __name__ == "__main__":
    for name, text in modules().items():
        (SYNC / name).write_text(text)
