"""docs/reliability.md names tests that exist, and every row that promises something names one."""

import ast
import re
from collections.abc import Iterator

from tests.floors.source import ROOT, refuse, sources

PAGE = "docs/reliability.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
ROW = re.compile(r"^\| (?!what |link |-)(?P<what>[^|]+?) \|.*\|(?P<shown>[^|]*)\|$", re.MULTILINE)
WITHOUT_TEST = {"the disk of Postgres"}
"""What nothing can be shown about: the record is lost with it."""


def names_by_path() -> dict[str, set[str]]:
    """The test functions of each file below tests/."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {
        source.path: {node.name for node in source.tree.body if isinstance(node, functions)}
        for source in sources("tests")
    }


def untrue(page: str, tests: dict[str, set[str]]) -> Iterator[str]:
    """Names of tests that do not exist, and rows that name none."""
    for path, name in NAMED.findall(page):
        if not name.startswith("test_") or name not in tests.get(path, set()):
            yield f"{PAGE}: there is no {path}::{name}"
    for row in ROW.finditer(page):
        if row["what"] not in WITHOUT_TEST and not NAMED.search(row["shown"]):
            yield f"{PAGE}: nothing shows what is said of {row['what']}"


def test_every_promise_has_its_test() -> None:
    """Each row is shown by tests that are there."""
    repair = "Name the test that shows it as `path::name`; where it was renamed or moved, here too."
    refuse(untrue((ROOT / PAGE).read_text(), names_by_path()), repair)


def test_this_floor_bites() -> None:
    """A name without a test, a row without a name, and a page that is right."""
    tests = {"tests/a.py": {"test_a"}}
    right = "| what | shown by |\n|---|---|\n| a death | none | `tests/a.py::test_a` |\n"
    assert not list(untrue(right, tests))
    assert list(untrue(right.replace("::test_a", "::test_b"), tests))
    assert list(untrue(right.replace("`tests/a.py::test_a`", "trust us"), tests))
    assert len(ROW.findall((ROOT / PAGE).read_text())) > 20
