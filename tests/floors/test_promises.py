"""Pages that promise something name tests that exist, and every row of theirs names one."""

import ast
import re
from collections.abc import Iterator

from tests.floors.source import ROOT, refuse, sources

PAGES = {
    "docs/invariants.md": set[str](),
    "docs/reliability.md": {"the disk of Postgres", "the disk of an edge"},
    "docs/security.md": set[str](),
}
"""Each with its rows about which nothing can be shown: what only they have is lost with them."""
ASSETS = re.compile(r"^\| asset \|.*?\n\n", re.MULTILINE | re.DOTALL)
"""A table that promises nothing."""
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
ROW = re.compile(r"^\| (?!what |link |threat |# |\*\*|-)(?P<what>[^|]+?) \|.*\|(?P<shown>[^|]*)\|$", re.MULTILINE)


def names_by_path() -> dict[str, set[str]]:
    """The test functions of each file below tests/."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {
        source.path: {node.name for node in source.tree.body if isinstance(node, functions)}
        for source in sources("tests")
    }


def untrue(path: str, page: str, tests: dict[str, set[str]]) -> Iterator[str]:
    """Names of tests that do not exist, and rows that name none."""
    for file, name in NAMED.findall(page):
        if not name.startswith("test_") or name not in tests.get(file, set()):
            yield f"{path}: there is no {file}::{name}"
    for row in ROW.finditer(ASSETS.sub("", page)):
        if row["what"] not in PAGES[path] and not NAMED.search(row["shown"]):
            yield f"{path}: nothing shows what is said of {row['what']}"


def test_every_promise_has_its_test() -> None:
    """Each row is shown by tests that are there."""
    repair = "Name the test that shows it as `path::name`; where it was renamed or moved, here too."
    tests = names_by_path()
    refuse((offence for path in PAGES for offence in untrue(path, (ROOT / path).read_text(), tests)), repair)


def test_this_floor_bites() -> None:
    """A name without a test, a row without a name, and a page that is right."""
    path, tests = "docs/security.md", {"tests/a.py": {"test_a"}}
    right = "| threat | shown by |\n|---|---|\n| a theft | none | `tests/a.py::test_a` |\n"
    assert not list(untrue(path, right, tests))
    assert list(untrue(path, right.replace("::test_a", "::test_b"), tests))
    assert list(untrue(path, right.replace("`tests/a.py::test_a`", "trust us"), tests))
    for page in PAGES:
        assert len(ROW.findall((ROOT / page).read_text())) > 20
