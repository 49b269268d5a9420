"""A CSV of model requests, read whole; what cannot be used is refused by its line.

The columns are those of the Azure LLM inference traces, `ContextTokens` and `GeneratedTokens`, in any order and beside
any others. A blank line is no row.
"""

import csv
from collections.abc import Iterator
from hashlib import sha256
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from app.replay.errors import ReplayError
from app.rules.credits import MAX_UNITS_MICRO, MICRO

MAX_FILE_BYTES: Final = 64 << 20
MAX_TOKENS: Final = MAX_UNITS_MICRO // MICRO
"""The most that one event may carry."""

_INPUT: Final = "ContextTokens"
_OUTPUT: Final = "GeneratedTokens"
_MAX_DIGITS: Final = 20
_MAX_SHOWN: Final = 60
"""Characters of the file that an error repeats."""


class Row(NamedTuple):
    """One model request; the first line after the heading is number 0."""

    number: int
    input_tokens: int
    output_tokens: int


class Trace(NamedTuple):
    """The rows of a file, and the SHA-256 of all its bytes in hexadecimal."""

    digest: str
    rows: list[Row]


def read_trace(path: Path, limit: int | None = None) -> Trace:
    """The first `limit` rows of a file (all, where it is None). Raises ReplayError that names the file and the line."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ReplayError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > MAX_FILE_BYTES:
        raise ReplayError(f"{path} has more than {MAX_FILE_BYTES >> 20} MiB; split it")
    try:
        return parse_trace(content, limit)
    except ReplayError as error:
        raise ReplayError(f"{path}: {error}") from error


def parse_trace(content: bytes, limit: int | None = None) -> Trace:
    """The first `limit` rows of a file's content. Raises ReplayError that names the line."""
    rows = list(islice(_parse_rows(_split_lines(_decode(content))), limit))
    if not rows:
        raise ReplayError("there is no row after the first line")
    return Trace(sha256(content).hexdigest(), rows)


def _decode(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ReplayError(f"line {line}: this is not UTF-8") from error


def _split_lines(text: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    try:
        for fields in reader:
            yield reader.line_num, fields
    except csv.Error as error:
        raise ReplayError(f"line {reader.line_num}: {error}") from error


def _parse_rows(lines: Iterator[tuple[int, list[str]]]) -> Iterator[Row]:
    heading = [name.strip() for _, names in islice(lines, 1) for name in names]
    if not heading:
        raise ReplayError(f"line 1 is empty; it has to name the columns {_INPUT} and {_OUTPUT}")
    places = [_find_column(heading, name) for name in (_INPUT, _OUTPUT)]
    number = 0
    for line, fields in lines:
        if fields:
            yield Row(number, *(_parse_tokens(fields, place, heading[place], line) for place in places))
            number += 1


def _find_column(heading: list[str], name: str) -> int:
    if name not in heading:
        raise ReplayError(f"line 1 names no column {name}; it has {_shown(', '.join(heading))}")
    return heading.index(name)


def _parse_tokens(fields: list[str], place: int, column: str, line: int) -> int:
    if place >= len(fields):
        raise ReplayError(f"line {line} ends before {column}: it has {len(fields)} of at least {place + 1} fields")
    text = fields[place].strip()
    if not (text.isascii() and text.isdecimal()):
        raise ReplayError(f"line {line}: {column} is {_shown(text)}; it must be a whole number of tokens")
    if len(text) > _MAX_DIGITS or int(text) > MAX_TOKENS:
        raise ReplayError(f"line {line}: {column} is {_shown(text)}; one event carries at most {MAX_TOKENS}")
    return int(text)


def _shown(text: str) -> str:
    return repr(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…")
