"""Locust's process finds everything that it imports in its own environment, and the product never meets Locust."""

import ast
import re
import sys
from collections.abc import Iterator

from tests.floors.source import ROOT, Source, sources

LOCUST = {"locust"}
ENTRY = "loadtests.locustfile"


def modules() -> dict[str, Source]:
    """The load tests' files by the names of their modules."""
    named = ((source.path.removesuffix(".py").replace("/", "."), source) for source in sources("loadtests"))
    return {name.removesuffix(".__init__"): source for name, source in named}


def imported(source: Source) -> Iterator[str]:
    """What a file imports: modules, and names of packages, which may be modules too."""
    for node in source.nodes:
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)
            yield from (f"{node.module}.{name.name}" for name in node.names)


def reached(entry: str) -> Iterator[str]:
    """What a module imports, and what those of ours import in turn, with the packages that they stand in."""
    known, waiting, seen = modules(), [entry], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in known:
            waiting += [*imported(known[name]), name.rpartition(".")[0] or name]
        yield name


def test_locust_imports_nothing_of_the_product() -> None:
    """The standard library, Locust, and those of the load tests that do the same."""
    others = {name.partition(".")[0] for name in reached(ENTRY)} - {"loadtests"}
    assert others - set(sys.stdlib_module_names) == LOCUST


def test_product_is_installed_without_locust() -> None:
    """None of its locks has what Locust brings, and Locust's lock has no library of the product's."""
    names = {
        lock: set(re.findall(r"^([\w.-]+)==", (ROOT / lock).read_text(), re.MULTILINE))
        for lock in ("requirements.lock", "requirements-dev.lock", "requirements-load.lock")
    }
    brought = {"locust", "gevent", "flask"}
    assert brought <= names["requirements-load.lock"]
    assert not brought & (names["requirements.lock"] | names["requirements-dev.lock"])
    assert not {"msgspec", "litestar", "quotastack"} & names["requirements-load.lock"]
