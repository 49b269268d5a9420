"""The blocks of code of every page: what each is, and what becomes of it."""

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from tests.floors.source import ROOT

RUN = {"sh", "python", "ts", "js"}
"""Languages whose blocks are run, in the order of the page: one shell, one Python program and one module for node."""
READ = {"json", "yaml", "toml"}
"""Languages whose blocks have to be what they say."""
SHOWN = {
    "text": "what something looks like: a formula, a drawing, headers on the wire, a synopsis",
    "mermaid": "a diagram, which forges draw",
    "console": "what is typed at a terminal and cannot be here; each command has its reason in CONSOLE",
}
"""Languages whose blocks nobody runs, and why."""
CONSOLE = {
    "docker": "needs a Docker daemon",
    "make": "starts what runs for minutes, or until it is stopped",
    "npm": "asks a registry",
    "pip": "asks a registry",
}
"""How commands of `console` begin."""
ELSEWHERE = {
    "sdks/python/README.md": "tests/docs/test_python_readme.py",
    "sdks/typescript/README.md": "sdks/typescript/tests/package.test.ts",
}
"""Pages whose blocks a test of their own runs."""
_OPENING = re.compile(r"^(?P<indent> *)```(?P<info>.*)$")
_ATTRIBUTE = re.compile(r'([a-z-]+)="([^"]*)"')


class Block(NamedTuple):
    """A fence: the page and the line at which it opens, its language, what else it says of itself, and its text."""

    page: str
    line: int
    language: str
    attributes: dict[str, str]
    text: str

    @property
    def place(self) -> str:
        """In the form that editors turn into a link."""
        return f"{self.page}:{self.line}"

    @property
    def is_run(self) -> bool:
        """Whether it is run with its page; what another test runs is not run twice."""
        return self.language in RUN and "covered-by" not in self.attributes and self.page not in ELSEWHERE


@cache
def pages() -> tuple[str, ...]:
    """Every Markdown file that is committed, or would be with the next `git add`."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return tuple(sorted(path for path in set(listed) if (ROOT / path).is_file()))


def blocks_of(page: str) -> list[Block]:
    """The blocks of a page, in their order."""
    return list(parse(page, (ROOT / page).read_text(encoding="utf-8")))


def parse(page: str, text: str) -> Iterator[Block]:
    """The blocks of a text; AssertionError where one is never closed."""
    lines = iter(enumerate(text.splitlines(), 1))
    for number, line in lines:
        if opening := _OPENING.match(line):
            indent, info = opening["indent"], opening["info"].strip()
            inside: list[str] = []
            for _, next_line in lines:
                if next_line.strip() == "```":
                    break
                inside.append(next_line.removeprefix(indent))
            else:
                raise AssertionError(f"{page}:{number}: this block is never closed")
            language = info.split()[0] if info else ""
            yield Block(page, number, language, dict(_ATTRIBUTE.findall(info)), "".join(f"{at}\n" for at in inside))


def runnable_pages() -> list[str]:
    """Pages with blocks that are run."""
    return [page for page in pages() if any(block.is_run for block in blocks_of(page))]


def named_test(block: Block) -> tuple[str, str] | None:
    """File and function of the test that runs a block in place of the page's own run."""
    named = block.attributes.get("covered-by")
    if named is None:
        return None
    file, _, function = named.partition("::")
    return file, function
