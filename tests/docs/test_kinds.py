"""No block of code is left out: each is run, read, or of a kind that nobody can run."""

import json
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.blocks import CONSOLE, ELSEWHERE, READ, RUN, SHOWN, Block, blocks_of, named_test, pages, parse
from tests.floors.source import ROOT, refuse

READERS: dict[str, Callable[[str], Any]] = {"json": json.loads, "yaml": yaml.safe_load, "toml": tomllib.loads}
ATTRIBUTES = {"tab", "covered-by"}
MAKES = re.compile(r'/v1/(features|plans|topup-packages)"? .*?\{"key": "([\w.-]+)"', re.DOTALL)
"""What the commands of a page make, and under which key."""


def all_blocks() -> Iterator[Block]:
    """Those of every page."""
    return (block for page in pages() for block in blocks_of(page))


def is_there(path: str, name: str) -> bool:
    """Whether a file of tests has such a test."""
    file = ROOT / path
    return file.is_file() and re.search(rf"^(?:async )?def {name}\(", file.read_text(), re.MULTILINE) is not None


def test_every_block_is_of_a_known_kind() -> None:
    """A language that is run, read, or shown with a reason."""
    known = RUN | READ | SHOWN.keys()
    odd = [f"{block.place}: {block.language or 'no language'}" for block in all_blocks() if block.language not in known]
    refuse(odd, f"Give the block a language: {', '.join(sorted(known))}. What can be run is run.")


def test_every_attribute_is_known() -> None:
    """A misspelt one would mean nothing, in silence."""
    odd = [f"{block.place}: {name}" for block in all_blocks() for name in block.attributes.keys() - ATTRIBUTES]
    refuse(odd, f"Attributes of a block are {', '.join(sorted(ATTRIBUTES))}.")


@pytest.mark.parametrize(
    "block", [block for block in all_blocks() if block.language in READ], ids=lambda block: block.place
)
def test_samples_parse(block: Block) -> None:
    """What says that it is JSON, YAML or TOML is."""
    READERS[block.language](block.text)


def test_what_others_run_is_run() -> None:
    """A block that names a test in place of its own run names one that exists."""
    named = ((block, test) for block in all_blocks() if (test := named_test(block)) is not None)
    offences = [f"{block.place}: {'::'.join(test)}" for block, test in named if not is_there(*test)]
    refuse(offences, "Name the test that runs these commands as path::name.")
    for page, test in ELSEWHERE.items():
        assert Path(page).name in (ROOT / test).read_text(), f"{test} says nothing of {page}"


def test_commands_at_a_terminal_have_their_reason() -> None:
    """`console` is for what cannot be run, not for what nobody cared to."""
    lines = ((block, line) for block in all_blocks() if block.language == "console" for line in block.text.splitlines())
    starts = [(block, line.split()[0]) for block, line in lines if line and not line.startswith(("#", " "))]
    refuse(
        {f"{block.place}: {start}" for block, start in starts if start not in CONSOLE},
        "Use sh, which is run; or give the command its reason.",
    )


def test_fences_are_understood() -> None:
    """Languages, attributes, indented blocks; one that is never closed is refused."""
    text = '# A\n\n```sh covered-by="tests/a.py::test_a"\none\n```\n\n- item\n  ```json\n  {}\n  ```\n'
    first, second = parse("a.md", text)
    assert (first.line, first.language, first.text) == (3, "sh", "one\n")
    assert not first.is_run
    assert named_test(first) == ("tests/a.py", "test_a")
    assert not is_there("tests/a.py", "test_a")
    assert is_there("tests/docs/test_kinds.py", "test_fences_are_understood")
    assert (second.language, second.text) == ("json", "{}\n")
    with pytest.raises(AssertionError, match="never closed"):
        list(parse("a.md", "```sh\n"))


def test_pages_make_different_things() -> None:
    """A reader has one environment for all pages: none makes a feature, plan or package that another makes."""
    makers: dict[str, set[str]] = {}
    for block in all_blocks():
        if block.language == "sh" and block.is_run:
            for kind, key in MAKES.findall(block.text):
                makers.setdefault(f"{kind} {key}", set()).add(block.page)
    twice = [f"{made}: {', '.join(sorted(on))}" for made, on in makers.items() if len(on) > 1]
    refuse(twice, "Take another key on one of these pages.")
