"""Tests wait for conditions, never for time to pass."""

import ast
from collections.abc import Iterator

from tests.floors.source import Source, refuse, sources

THE_ONE_POLL = "tests/waiting.py"

REPAIR = (
    "Wait for what the test is about, with a bound: the poll in tests/waiting.py, an asyncio.Event, or a frozen clock. "
    "`asyncio.sleep(0)`, which only lets others run, is allowed."
)


def sleeps(source: Source) -> Iterator[str]:
    """Every call of something named sleep, but for a literal zero in asyncio."""
    if source.path == THE_ONE_POLL:
        return
    for node in source.nodes:
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="asyncio")), args=[ast.Constant(value=0)]):
                continue
            case ast.Call(func=ast.Attribute(attr="sleep") | ast.Name(id="sleep")):
                yield source.at(node.lineno, ast.unparse(node))


def test_no_test_sleeps() -> None:
    """No sleep in tests/."""
    refuse((offence for source in sources("tests") for offence in sleeps(source)), REPAIR)
