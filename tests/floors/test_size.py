"""Files and functions stay small enough to be read whole."""

import ast
from collections.abc import Iterator

from tests.floors.source import HOUSE, Source, refuse, sources

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60
MAX_POSITIONAL_ARGUMENTS = 5
MAX_ARGUMENTS = 8

REPAIR = (
    f"A file stops at {MAX_FILE_LINES} lines, a function at {MAX_FUNCTION_LINES}: split it where it changes subject. "
    f"More than {MAX_POSITIONAL_ARGUMENTS} arguments by position, or {MAX_ARGUMENTS} in all, is a struct."
)


def oversized(source: Source) -> Iterator[str]:
    """What is too long in this file, or takes too many arguments."""
    lines = source.text.count("\n")
    if lines > MAX_FILE_LINES:
        yield source.at(MAX_FILE_LINES, f"the file has {lines} lines")
    for node in source.nodes:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from (source.at(node.lineno, f"{node.name} {what}") for what in excesses(node))


def excesses(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    """In words, by how much a function is too large; its `self` or `cls` is not counted."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
    positional = len(names) - (names[:1] in (["self"], ["cls"]))
    total = positional + len(function.args.kwonlyargs)
    if lines > MAX_FUNCTION_LINES:
        yield f"has {lines} lines"
    if positional > MAX_POSITIONAL_ARGUMENTS:
        yield f"takes {positional} arguments by position"
    if total > MAX_ARGUMENTS:
        yield f"takes {total} arguments"


def test_everything_fits_its_screen() -> None:
    """No file, function or signature is beyond its cap."""
    refuse((offence for source in sources(*HOUSE) for offence in oversized(source)), REPAIR)
