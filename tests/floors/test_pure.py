"""`app/rules` and `app/wire` are pure: integers in, integers out, nothing that waits, guesses or looks at the clock."""

import ast
import sys
from collections.abc import Iterator

from tests.floors.source import Source, refuse, sources

PURE = ("app/rules", "app/wire")
ALLOWED = sys.stdlib_module_names | {"msgspec"}
IMPURE_MODULES = {"asyncio", "logging", "os", "random", "secrets", "socket", "subprocess", "threading", "time"}
IMPURE_CALLS = {"now", "utcnow", "today", "uuid1", "uuid4", "uuid6", "uuid7", "urandom"}

EXCEPTIONS: dict[str, str] = {}
"""Offence as it is printed, without its line -> the reason why it is right all the same."""

REPAIR = (
    "Rules and wire decide from their arguments alone. Take time, randomness and rows as arguments, do the waiting and "
    "reading in a service or in app/io, count in integers, and import only the standard library and msgspec."
)


def impurities(source: Source) -> Iterator[tuple[int, str]]:
    """Line and name of everything that a pure module may not hold."""
    for line, module in source.imports:
        root = module.partition(".")[0]
        own = module.startswith(("app.rules", "app.wire"))
        if root in IMPURE_MODULES or not (own or root in ALLOWED):
            yield line, f"import of {module}"
    for node in source.nodes:
        match node:
            case ast.AsyncFunctionDef() | ast.AsyncFor() | ast.AsyncWith() | ast.Await():
                yield node.lineno, "async"
            case ast.Constant(value=float()) | ast.Name(id="float"):
                yield node.lineno, "float"
            case ast.Call(func=ast.Attribute(attr=name)) if name in IMPURE_CALLS:
                yield node.lineno, f"call of {name}"


def test_rules_and_wire_are_pure() -> None:
    """Nothing impure beyond the exceptions, and no exception that nothing needs."""
    found = {(s.path, line, what) for s in sources(*PURE) for line, what in impurities(s)}
    used = {f"{path}: {what}" for path, _, what in found} & EXCEPTIONS.keys()
    refuse((f"{p}:{line}: {what}" for p, line, what in found if f"{p}: {what}" not in used), REPAIR)
    refuse(
        EXCEPTIONS.keys() - used, "These exceptions of tests/floors/test_pure.py excuse nothing any more: remove them."
    )
