"""What the floors read: the Python files of the house, each parsed once, and one way to say what to repair."""

import ast
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("app", "edge", "migrations")
HOUSE = (*PRODUCT, "loadtests", "tests", "docs/cookbook")


class Source(NamedTuple):
    """One Python file; `path` is relative to the repository and written with slashes."""

    path: str
    text: str
    tree: ast.Module

    @property
    def nodes(self) -> Iterator[ast.AST]:
        """Every node of the tree."""
        return ast.walk(self.tree)

    @property
    def imports(self) -> Iterator[tuple[int, str]]:
        """Line and full name of every module that is imported, in functions and under TYPE_CHECKING too."""
        for node in self.nodes:
            if isinstance(node, ast.Import):
                yield from ((node.lineno, name.name) for name in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield node.lineno, "." * node.level + (node.module or "")

    def at(self, line: int, what: str) -> str:
        """An offence in the form that editors turn into a link."""
        return f"{self.path}:{line}: {what}"


def parse(path: str, text: str) -> Source:
    """A source from its text."""
    return Source(path, text, ast.parse(text, path))


def sources(*folders: str) -> tuple[Source, ...]:
    """All Python files below these folders of the repository."""
    return tuple(_read(file) for file in sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py")))


@cache
def _read(file: Path) -> Source:
    return parse(file.relative_to(ROOT).as_posix(), file.read_text())


@cache
def texts() -> tuple[tuple[str, str], ...]:
    """Path and text of every file that is committed, or would be with the next `git add`; binary files are left out."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    files = [(path, (ROOT / path).read_bytes()) for path in listed if path and (ROOT / path).is_file()]
    return tuple((path, content.decode(errors="replace")) for path, content in files if b"\0" not in content)


def refuse(offences: Iterable[str], repair: str) -> None:
    """Fail with the repair first and then every offence; pass where there is none."""
    found = sorted(offences)
    assert not found, "\n".join([repair, *found])
