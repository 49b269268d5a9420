"""What the code has, its pages say, and nothing else: the domains, the error codes, the settings, the bounds."""

import ast
import importlib
import re
from collections.abc import Iterator
from itertools import pairwise

from app.wire.codes import Code
from tests.floors.source import ROOT, Source, refuse, sources

NOT_DOMAINS = {"console", "embedded", "flusher", "io", "jobs", "rules", "trail", "web", "wire"}
HEADINGS = ("Owns", "Invariants", "Tables", "Neighbours", "Not mine")
BOUNDED = {f"edge/{name}.py" for name in ("http_faults", "http_reading", "server", "listener", "routes", "main")}
SETTINGS = ("app/settings.py", "edge/settings.py")
CODE_ENTRY = re.compile(r"^#{2,4} `(\w+)`", re.MULTILINE)
BOUND_ENTRY = re.compile(r"^\| `([A-Z][A-Z0-9_]*` \| [0-9,]+) \|", re.MULTILINE)
SETTING_ENTRY = re.compile(r"^(?:#{2,4}|\|) `([A-Z][A-Z0-9_]*)`", re.MULTILINE)


def headless_domains(source: Source) -> Iterator[str]:
    """The page of a domain has its five headings, each at the start of a line, in this order."""
    match source.path.split("/"):
        case ["app", domain, "__init__.py"] if domain not in NOT_DOMAINS:
            page = ast.get_docstring(source.tree) or ""
            places = [re.search(rf"^{heading}\b", page, re.MULTILINE) for heading in HEADINGS]
            missing = [heading for heading, place in zip(HEADINGS, places, strict=True) if place is None]
            if missing:
                yield source.at(1, f"no {', '.join(missing)}")
            elif any(upper.start() > lower.start() for upper, lower in pairwise(filter(None, places))):
                yield source.at(1, "the headings are out of order")


def variables(source: Source) -> set[str]:
    """Environment variables of a settings module: the fields of its structs named …Settings, in capitals."""
    structs = [node for node in source.nodes if isinstance(node, ast.ClassDef) and node.name.endswith("Settings")]
    fields = [line.target for struct in structs for line in struct.body if isinstance(line, ast.AnnAssign)]
    return {field.id.upper() for field in fields if isinstance(field, ast.Name)}


def differences(code: set[str], page: str, entry: re.Pattern[str]) -> Iterator[str]:
    """What only the code has, and what only the page has an entry for."""
    said = set(entry.findall((ROOT / page).read_text() if (ROOT / page).is_file() else ""))
    yield from (f"{page} says nothing of {name}" for name in code - said)
    yield from (f"{page} speaks of {name}, which does not exist" for name in said - code)


def bounds(source: Source) -> Iterator[tuple[str, int]]:
    """Names and values of the public numbers that a module defines."""
    module = importlib.import_module(source.path.removesuffix(".py").replace("/", "."))
    targets = [target for node in source.tree.body if isinstance(node, ast.Assign) for target in node.targets]
    for target in targets:
        if isinstance(target, ast.Name) and target.id.isupper() and not target.id.startswith("_"):
            value = getattr(module, target.id)
            if isinstance(value, int):
                yield target.id, value


def test_app_is_empty() -> None:
    """The edge borrows rules and wire for nothing."""
    text = (ROOT / "app/__init__.py").read_text()
    assert not text, "Keep app/__init__.py empty: whatever stands in it, the edge loads too."


def test_every_domain_has_its_page() -> None:
    """A newcomer learns from __init__ what a domain owns and what it does not."""
    paths = {source.path for source in sources("app")}
    inits = {f"{path.rpartition('/')[0]}/__init__.py" for path in paths}
    bare = [f"{path} is missing" for path in inits - paths]
    offences = [offence for source in sources("app") for offence in headless_domains(source)]
    repair = f"Open the folder's __init__.py with its page, headed {', '.join(HEADINGS)}, each at the start of a line."
    refuse(bare + offences, repair)


def test_every_error_code_is_explained() -> None:
    """docs/errors.md has a heading for each code, so that the `type` of a problem document leads somewhere."""
    repair = "Give each code of app/wire/codes.py a heading (## `code`) in docs/errors.md, and remove the others."
    refuse(differences({code.value for code in Code}, "docs/errors.md", CODE_ENTRY), repair)


def test_every_setting_is_explained() -> None:
    """docs/configuration.md has an entry for each environment variable of the two settings modules."""
    read = {source.path: variables(source) for source in sources("app", "edge") if source.path in SETTINGS}
    assert all(read.get(path) for path in SETTINGS), f"{' and '.join(SETTINGS)} hold structs named …Settings."
    repair = "Give each variable a row (| `NAME` | …) or heading in docs/configuration.md, and remove the others."
    refuse(differences(set.union(*read.values()), "docs/configuration.md", SETTING_ENTRY), repair)


def test_every_bound_of_http_is_explained() -> None:
    """docs/edge-http.md has a row for each number of the modules that read and answer HTTP, with its value."""
    found = [bound for source in sources("edge") if source.path in BOUNDED for bound in bounds(source)]
    repair = "Give each bound a row (| `NAME` | value | ...) in docs/edge-http.md, and remove the others."
    refuse(differences({f"{name}` | {value:,}" for name, value in found}, "docs/edge-http.md", BOUND_ENTRY), repair)
