"""What a block says that it prints, and whether it did.

In a shell, a comment right below a command is its output; in Python and TypeScript one behind or right below a line
that prints. `...` and `…` stand for whatever is another each time. Outputs come in the order in which they stand.
What comes beside them need not be shown, but for problem documents: one that is not shown is a failure.
"""

import re
from collections.abc import Iterator

from tests.docs.blocks import Block

_PRINTS = re.compile(r"\bprint\(|\bconsole\.log\(")
_PROBLEM = re.compile(r'"type": ?"/docs/errors#(\w+)"')
_MARKS = {"sh": "#", "python": "#", "ts": "//", "js": "//"}


def shown(block: Block) -> list[str]:
    """The lines of output that a block shows."""
    mark = _MARKS[block.language]
    return list(_shown_by_shell(block.text) if block.language == "sh" else _shown_by_program(block.text, mark))


def _shown_by_shell(text: str) -> Iterator[str]:
    follows_command = False
    for line in text.splitlines():
        is_comment = line.startswith("# ")
        if is_comment and follows_command:
            yield line.removeprefix("# ")
        else:
            follows_command = bool(line.strip()) and not is_comment


def _shown_by_program(text: str, mark: str) -> Iterator[str]:
    follows_print = False
    for line in text.splitlines():
        code, _, comment = line.partition(f"{mark} ")
        if code.strip():
            follows_print = _PRINTS.search(code) is not None
        if comment and follows_print:
            yield comment.strip()
        elif not code.strip():
            follows_print = False


def complaints(block: Block, output: str) -> list[str]:
    """What is shown and was not printed, and problem documents that are not shown."""
    expected = shown(block)
    printed = [line.rstrip("\r") for line in output.splitlines()]
    found = list(_missing(expected, printed))
    told = set(_PROBLEM.findall("\n".join(expected)))
    found += [f"printed a problem that is not shown: {code}" for code in _PROBLEM.findall(output) if code not in told]
    return [f"{block.place}: {complaint}\n--- it printed\n{output}" for complaint in found]


def _missing(expected: list[str], printed: list[str]) -> Iterator[str]:
    """Each line that is shown, where no line behind the one before it is as it says."""
    place = 0
    for line in expected:
        pattern = re.compile(re.sub(r"\\\.\\\.\\\.|…", ".*", re.escape(line)))
        hits = (number for number in range(place, len(printed)) if pattern.fullmatch(printed[number].strip()))
        place = next(hits, -1) + 1
        if not place:
            yield f"did not print {line}"
            return
